// Package content renders notifications: their stored bodies, with the message in several
// languages, the data of their pushes, the frames of live sockets and the JSON of unread
// counts. It is pure: it uses neither Redis nor providers.
//
// The forms are those of the "Android Notifications Data Samples" of the marketplace's v2
// API.
package content
