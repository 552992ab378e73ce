package metadata

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"slices"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

// keptChunks are the chunks that show a PNG picture or animation in its colours (PNG, third
// edition, section 5.6).
var keptChunks = []string{
	"IHDR", "PLTE", "IDAT", "IEND", "tRNS", "acTL", "fcTL", "fdAT",
	"cHRM", "cICP", "gAMA", "iCCP", "mDCV", "cLLI", "sBIT", "sRGB", "bKGD", "hIST", "pHYs", "sPLT",
}

// stripPNG keeps the chunks that show the picture.
func stripPNG(file []byte) ([]byte, error) {
	if !bytes.HasPrefix(file, []byte(pngSignature)) {
		return nil, damaged("the PNG signature is missing")
	}
	o, animated := upright, false
	err := eachChunk(file, func(name string, chunk []byte) {
		switch name {
		case "eXIf":
			o = readOrientation(chunk[8 : len(chunk)-4])
		case "acTL":
			animated = true
		}
	})
	if err != nil {
		return nil, err
	}
	if o != upright && !animated {
		if m, ok := decode(file, png.Decode); ok {
			var b bytes.Buffer
			if err := png.Encode(&b, o.apply(m)); err != nil {
				return nil, damaged(err.Error())
			}
			return b.Bytes(), nil
		}
	}
	out := append(make([]byte, 0, len(file)), pngSignature...)
	err = eachChunk(file, func(name string, chunk []byte) {
		if slices.Contains(keptChunks, name) {
			out = append(out, chunk...)
		}
		if name == "IHDR" && o != upright {
			out = appendChunk(out, "eXIf", o.exif())
		}
	})
	return out, err
}

// eachChunk calls f with each chunk of a PNG file, from its length to its checksum. What
// follows the last one is left out.
func eachChunk(file []byte, f func(name string, chunk []byte)) error {
	for rest := file[len(pngSignature):]; ; {
		if len(rest) < 12 {
			return damaged("a PNG chunk is cut off")
		}
		size := uint64(binary.BigEndian.Uint32(rest)) + 12
		if size > uint64(len(rest)) {
			return damaged("a PNG chunk is cut off")
		}
		name := string(rest[4:8])
		f(name, rest[:size])
		if name == "IEND" {
			return nil
		}
		rest = rest[size:]
	}
}

func appendChunk(out []byte, name string, data []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	begin := len(out)
	out = append(append(out, name...), data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[begin:]))
}

// decode decodes a picture that can be turned: one that is whole and has at most MaxPixels.
func decode(file []byte, decode func(io.Reader) (image.Image, error)) (image.Image, bool) {
	size, _, err := image.DecodeConfig(bytes.NewReader(file))
	if err != nil || size.Width <= 0 || size.Height > MaxPixels/size.Width {
		return nil, false
	}
	m, err := decode(bytes.NewReader(file))
	return m, err == nil
}
