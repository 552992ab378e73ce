// Package metadata removes what a file tells about the person who made it: where and when a
// picture or a video was taken, with which device, and by whom.
//
// It knows JPEG, PNG and WebP pictures, and MP4 video and sound. Only what a viewer needs
// stays. Tracks of an MP4 file stay as they are, those in which action cameras record
// positions too.
package metadata

import (
	"errors"
	"fmt"
)

// ErrDamaged reports a file whose parts cannot be told apart, so that its metadata cannot
// be removed.
var ErrDamaged = errors.New("the file is damaged")

// Strip returns a file of a media type, such as "image/jpeg", without its metadata. It
// returns files of types that it does not know as they are.
//
// A JPEG or PNG picture that was taken with the camera turned is turned upright. WebP,
// animations and pictures of more than MaxPixels keep the orientation as their only
// metadata: Go encodes no WebP, and a larger picture takes too much memory. Turning takes
// about ten bytes of memory a pixel at most, anything else the size of the file.
//
// The error is ErrDamaged, wrapped. Strip may change file.
func Strip(media string, file []byte) ([]byte, error) {
	var err error
	switch media {
	case "image/jpeg":
		file, err = stripJPEG(file)
	case "image/png":
		file, err = stripPNG(file)
	case "image/webp":
		file, err = stripWebP(file)
	case "video/mp4", "audio/mp4":
		err = stripMP4(file)
	}
	if err != nil {
		return nil, fmt.Errorf("remove metadata of %s: %w", media, err)
	}
	return file, nil
}

// damaged returns an ErrDamaged that says what is wrong.
func damaged(what string) error { return fmt.Errorf("%w: %s", ErrDamaged, what) }
