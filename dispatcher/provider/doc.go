// Package provider holds the shared code of the senders: bounded HTTP/2
// connections ([Pool], [Pools]), the raw answer to a request, which the SDKs hide
// ([Attempt]), the meaning of a missing answer ([Unanswered]) and of Retry-After
// ([RetryAfter]), and the reduction of a push to the size that a provider accepts ([Fit]).
package provider
