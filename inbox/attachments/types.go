package attachments

import (
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// A fileType is a type of files that are kept.
type fileType struct {
	media     string // the media type that the file is served with
	extension string
	detected  []string // its names in package mimetype
}

// kept lists the types that a chat needs: pictures, voice and video messages, and documents
// without executable content. It leaves out SVG and HTML, which can contain scripts, and
// office documents, which can contain macros.
var kept = []fileType{
	{"image/jpeg", ".jpg", []string{"image/jpeg"}},
	{"image/png", ".png", []string{"image/png", "image/vnd.mozilla.apng"}},
	{"image/gif", ".gif", []string{"image/gif"}},
	{"image/webp", ".webp", []string{"image/webp"}},
	{"video/mp4", ".mp4", []string{"video/mp4"}},
	{"audio/mpeg", ".mp3", []string{"audio/mpeg"}},
	{"audio/mp4", ".m4a", []string{"audio/x-m4a", "audio/mp4"}},
	{"audio/aac", ".aac", []string{"audio/aac"}},
	{"audio/ogg", ".ogg", []string{"audio/ogg"}},
	{"application/pdf", ".pdf", []string{"application/pdf"}},
}

// Extensions returns the file extensions of the types that are kept, such as "jpg".
func Extensions() []string {
	names := make([]string, len(kept))
	for i, t := range kept {
		names[i] = t.extension[1:]
	}
	return names
}

// detect returns the type of a file that begins with head, and whether it is kept.
func detect(head []byte) (fileType, bool) {
	found := mimetype.Detect(head)
	i := slices.IndexFunc(kept, func(t fileType) bool {
		return slices.ContainsFunc(t.detected, found.Is)
	})
	if i < 0 {
		return fileType{}, false
	}
	return kept[i], true
}

// isKept reports whether media is the type of a file that Put has stored.
func isKept(media string) bool {
	return slices.ContainsFunc(kept, func(t fileType) bool { return t.media == media })
}

// Inline reports whether a browser may show files of the type in place: pictures,
// sound and video, of the types that are kept.
func Inline(media string) bool {
	return isKept(media) && !strings.HasPrefix(media, "application/")
}

const maxName = 80 // characters, extension included

// safeName turns the name that a client gave a file into one that is safe in a URL and a
// header, with the extension of the type.
func safeName(name string, t fileType) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		name = name[:dot]
	}
	var b strings.Builder
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == maxName-len(t.extension) {
			break
		}
	}
	if name = strings.Trim(b.String(), "-"); name == "" {
		name = "file"
	}
	return name + t.extension
}

// isSafe reports whether a name has the form that safeName produces.
func isSafe(name string) bool {
	return slices.ContainsFunc(kept, func(t fileType) bool {
		return strings.HasSuffix(name, t.extension) && safeName(name, t) == name
	})
}
