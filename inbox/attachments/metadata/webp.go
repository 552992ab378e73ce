package metadata

import (
	"bytes"
	"encoding/binary"
)

// The flags of a WebP file's VP8X chunk that announce metadata
// (https://developers.google.com/speed/webp/docs/riff_container).
const (
	webpEXIF = 0x08
	webpXMP  = 0x04

	webpFlags = 12 + 8 // where they are
)

// stripWebP drops the chunks EXIF and XMP, unknown ones, and what follows the picture.
func stripWebP(file []byte) ([]byte, error) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WEBP" {
		return nil, damaged("the WebP signature is missing")
	}
	o, extended := upright, false
	out := bytes.Clone(file[:12])
	end := min(8+uint64(binary.LittleEndian.Uint32(file[4:])), uint64(len(file)))
	for rest := file[12:max(end, 12)]; len(rest) >= 8; {
		size := uint64(binary.LittleEndian.Uint32(rest[4:]))
		if size += 8 + size%2; size == uint64(len(rest))+1 { // some files lack the last padding
			rest = append(bytes.Clone(rest), 0)
		}
		if size > uint64(len(rest)) {
			return nil, damaged("a WebP chunk is cut off")
		}
		chunk := rest[:size]
		switch string(chunk[:4]) {
		case "VP8X": // the first chunk, with the flags; only such files hold metadata
			if len(out) != 12 || len(chunk) < 18 {
				return nil, damaged("a WebP chunk is in the wrong place")
			}
			out, extended = append(out, chunk...), true
			out[webpFlags] &^= webpEXIF | webpXMP
		case "EXIF":
			o = readOrientation(chunk[8:])
		case "VP8 ", "VP8L", "ALPH", "ANIM", "ANMF", "ICCP":
			out = append(out, chunk...)
		}
		rest = rest[size:]
	}
	if o != upright && extended {
		out[webpFlags] |= webpEXIF
		data := o.exif()
		out = binary.LittleEndian.AppendUint32(append(out, "EXIF"...), uint32(len(data)))
		out = append(out, data...)
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out, nil
}
