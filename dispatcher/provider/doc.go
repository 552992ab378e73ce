// Package provider is what the senders of both push providers share: HTTP/2
// connections of one lane ([Pool]), the provider's raw answer, which the SDKs
// keep to themselves ([Attempt]), what an answer that never came means
// ([Unanswered]), and the guard that cuts a push down to the size that a
// provider takes ([Fit]).
package provider
