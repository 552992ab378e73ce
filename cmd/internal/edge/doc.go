// Package edge judges who reaches the public address: from which address a request comes
// when proxies stand in front ([Proxies]), and which pages may use the API ([Origins]).
package edge
