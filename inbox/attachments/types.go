package attachments

import (
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// A fileType is a type of file that is kept.
type fileType struct {
	media     string // as it is served
	extension string
	detected  []string // what mimetype calls it
}

// kept lists the types that a chat needs: pictures, voice and video messages, and
// documents that no program executes. SVG and HTML can run scripts, and office
// documents macros.
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

// Extensions lists the types that are kept, as people know them, such as "jpg".
func Extensions() []string {
	names := make([]string, len(kept))
	for i, t := range kept {
		names[i] = t.extension[1:]
	}
	return names
}

// detect returns the type of a file that begins so, and whether it is kept.
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

// safeName makes of the name that a client gave a file one that is fit for an
// address and a header, with the extension that belongs to the type.
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

// isSafe reports whether safeName may have made a name.
func isSafe(name string) bool {
	return slices.ContainsFunc(kept, func(t fileType) bool {
		return strings.HasSuffix(name, t.extension) && safeName(name, t) == name
	})
}
