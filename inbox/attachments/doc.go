// Package attachments stores the files that users send in chats, in a bucket: a folder
// (file://./attachments, the default), S3 or a compatible service
// (s3://bucket?region=…&endpoint=…), or memory (mem://, for tests).
//
// The type of a file is detected from its content, never from its name or from what the
// client claims; only the types that a chat needs are kept (see types.go). A file is found
// by a key of 128 random bits, which is its only protection: anybody who has the address of
// a file can read it, as on the documented upload hosts.
package attachments
