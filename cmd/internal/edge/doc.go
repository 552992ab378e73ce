// Package edge judges who reaches the public address: from which address a request comes
// when proxies stand in front ([Proxies]), which pages may use the API ([Origins]), and how
// many connections are kept open ([Connections]).
package edge
