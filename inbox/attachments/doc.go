// Package attachments keeps the files that users send in chats, in a bucket: a
// folder (file://./attachments, the default), S3 and what is compatible with it
// (s3://bucket?region=…&endpoint=…), or memory (mem://, for tests).
//
// What a file is, its content decides, never its name or what the client says of
// it; only the types that a chat needs are kept (see types.go). A file is found by
// a key of 128 random bits, which is all that protects it: whoever has the address
// of a file may see it, as on the documented upload hosts.
package attachments
