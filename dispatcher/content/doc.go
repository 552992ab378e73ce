// Package content is what people are shown, as bytes: the bodies of notifications as
// the inbox stores them, their message in several languages, the data of a push, the
// frames of live sockets and the JSON of unread counts. It is pure: it knows neither
// Redis nor providers.
//
// The shapes are those of the "Android Notifications Data Samples" of the
// marketplace's v2 API.
package content
