package metadata

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
)

// jpegQuality is the quality of pictures that were turned upright.
const jpegQuality = 90

// The markers of JPEG (ITU-T T.81, table B.1) that stripJPEG tells apart.
const (
	markerRST0 = 0xD0
	markerRST7 = 0xD7
	markerSOI  = 0xD8
	markerEOI  = 0xD9
	markerSOS  = 0xDA
	markerAPP0 = 0xE0
	markerEXIF = 0xE1
	markerICC  = 0xE2
	markerAPPF = 0xEF
	markerCOM  = 0xFE
)

// keptApps are the application segments that a viewer needs, by marker: how they begin.
var keptApps = map[byte]string{
	markerAPP0: "JFIF\x00",
	markerICC:  "ICC_PROFILE\x00",
	0xEE:       "Adobe", // the colours of some pictures are wrong without it
}

// stripJPEG keeps the segments that show the picture. It drops the others, and what follows
// the picture, such as the video of a moving photo.
func stripJPEG(file []byte) ([]byte, error) {
	o := upright
	err := eachSegment(file, func(marker byte, segment []byte) {
		if marker == markerEXIF && bytes.HasPrefix(segment[4:], []byte(exifPrefix)) {
			o = readOrientation(segment[4:])
		}
	})
	if err != nil {
		return nil, err
	}
	if o != upright {
		if m, ok := decode(file, jpeg.Decode); ok {
			return encodeJPEG(o.apply(m), profile(file, m))
		}
	}
	out := make([]byte, 0, len(file))
	err = eachSegment(file, func(marker byte, segment []byte) {
		if !isMetadata(marker, segment) {
			out = append(out, segment...)
		}
		if marker == markerSOI && o != upright {
			out = appendSegment(out, markerEXIF, append([]byte(exifPrefix), o.exif()...))
		}
	})
	return out, err
}

// isMetadata reports whether a segment is not needed to show the picture.
func isMetadata(marker byte, segment []byte) bool {
	if marker == markerCOM {
		return true
	}
	if marker < markerAPP0 || marker > markerAPPF {
		return false
	}
	begin, kept := keptApps[marker]
	return !kept || !bytes.HasPrefix(segment[4:], []byte(begin))
}

// eachSegment calls f with each segment of a JPEG file, from its marker to the end of its
// data; scans include their compressed data. What follows the end of the picture is left
// out.
func eachSegment(file []byte, f func(marker byte, segment []byte)) error {
	for i := 0; ; {
		if i+2 > len(file) || file[i] != 0xFF {
			return damaged("a JPEG marker is missing")
		}
		marker := file[i+1]
		end := i + 2
		switch {
		case marker == 0xFF: // fill byte
			i++
			continue
		case marker == markerSOI || marker == markerEOI || markerRST0 <= marker && marker <= markerRST7:
		default:
			if i+4 > len(file) {
				return damaged("a JPEG segment is cut off")
			}
			size := int(binary.BigEndian.Uint16(file[i+2:]))
			if end += size; size < 2 || end > len(file) {
				return damaged("a JPEG segment is cut off")
			}
			if marker == markerSOS {
				end = scanEnd(file, end)
			}
		}
		f(marker, file[i:end])
		if marker == markerEOI || marker == markerSOS && end == len(file) { // some cameras forget the end
			return nil
		}
		i = end
	}
}

// scanEnd returns where compressed data ends: at the next marker that is neither a
// restart nor a stuffed byte.
func scanEnd(file []byte, i int) int {
	for ; i+1 < len(file); i++ {
		if next := file[i+1]; file[i] == 0xFF && next != 0 && next != 0xFF && (next < markerRST0 || next > markerRST7) {
			return i
		}
	}
	return len(file)
}

func appendSegment(out []byte, marker byte, data []byte) []byte {
	out = append(out, 0xFF, marker)
	out = binary.BigEndian.AppendUint16(out, uint16(2+len(data)))
	return append(out, data...)
}

// profile returns the segments of a picture's colour profile. That of a CMYK picture does
// not fit the turned one, which is in RGB.
func profile(file []byte, m image.Image) (segments []byte) {
	if _, cmyk := m.(*image.CMYK); cmyk {
		return nil
	}
	_ = eachSegment(file, func(marker byte, segment []byte) { // an error ends it: what was found counts
		if marker == markerICC && !isMetadata(marker, segment) {
			segments = append(segments, segment...)
		}
	})
	return segments
}

func encodeJPEG(m image.Image, profile []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, damaged(err.Error())
	}
	out := append([]byte{0xFF, markerSOI}, profile...)
	return append(out, b.Bytes()[2:]...), nil
}
