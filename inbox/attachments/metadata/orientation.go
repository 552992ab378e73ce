package metadata

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/draw"

	"github.com/bep/imagemeta"
)

// MaxPixels is the number of pixels of the largest picture that Strip turns.
const MaxPixels = 20_000_000

// An orientation says how a picture has to be turned or mirrored for display. Its values are
// those of the EXIF tag Orientation (EXIF 2.32, section 4.6.4): 1 is upright, 6 is to be
// turned clockwise by 90 degrees.
type orientation int

const upright orientation = 1

// exifPrefix precedes EXIF data in JPEG files, and in some WebP files.
const exifPrefix = "Exif\x00\x00"

// readOrientation returns the orientation that EXIF data names. A picture without a readable
// one is upright. EXIF data is in the format of a TIFF file.
func readOrientation(exif []byte) orientation {
	found := upright
	exif = bytes.TrimPrefix(exif, []byte(exifPrefix))
	_, _ = imagemeta.Decode(imagemeta.Options{ // an error leaves what was found before it
		R: bytes.NewReader(exif), ImageFormat: imagemeta.TIFF, Sources: imagemeta.EXIF,
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool { return tag.Tag == "Orientation" && tag.Namespace == "IFD0" },
		HandleTag: func(tag imagemeta.TagInfo) error {
			if v, ok := tag.Value.(uint16); ok && 1 <= v && v <= 8 {
				found = orientation(v)
			}
			return nil
		},
		Warnf: func(string, ...any) {},
	})
	return found
}

// exif returns EXIF data that holds the orientation alone.
func (o orientation) exif() []byte {
	b := []byte("MM\x00*\x00\x00\x00\x08")                        // big endian, the directory follows
	b = append(b, 0, 1)                                           // one entry
	b = append(b, 0x01, 0x12, 0, 3, 0, 0, 0, 1)                   // Orientation, SHORT, one value
	b = append(binary.BigEndian.AppendUint16(b, uint16(o)), 0, 0) // padded to four bytes
	return append(b, 0, 0, 0, 0)                                  // no further directory
}

// swaps reports whether width and height change places.
func (o orientation) swaps() bool { return o >= 5 }

// source returns where in a picture, of width w and height h, the pixel is that belongs at
// x, y of the upright one.
func (o orientation) source(x, y, w, h int) (int, int) {
	switch o {
	case 2:
		return w - 1 - x, y
	case 3:
		return w - 1 - x, h - 1 - y
	case 4:
		return x, h - 1 - y
	case 5:
		return y, x
	case 6:
		return y, h - 1 - x
	case 7:
		return w - 1 - y, h - 1 - x
	case 8:
		return w - 1 - y, x
	}
	return x, y
}

// A plane holds the samples of a picture, or of one of its channels, of n bytes each.
type plane struct {
	pix             []byte
	stride, w, h, n int
}

// turn returns the plane as it looks upright.
func (o orientation) turn(p plane) plane {
	out := plane{w: p.w, h: p.h, n: p.n}
	if o.swaps() {
		out.w, out.h = p.h, p.w
	}
	out.stride = out.w * p.n
	out.pix = make([]byte, out.stride*out.h)
	for y := range out.h {
		for x := range out.w {
			sx, sy := o.source(x, y, p.w, p.h)
			from := sy*p.stride + sx*p.n
			copy(out.pix[y*out.stride+x*p.n:], p.pix[from:from+p.n])
		}
	}
	return out
}

// turned are the subsampling ratios of pictures whose width and height change places.
var turned = map[image.YCbCrSubsampleRatio]image.YCbCrSubsampleRatio{
	image.YCbCrSubsampleRatio444: image.YCbCrSubsampleRatio444,
	image.YCbCrSubsampleRatio420: image.YCbCrSubsampleRatio420,
	image.YCbCrSubsampleRatio422: image.YCbCrSubsampleRatio440,
	image.YCbCrSubsampleRatio440: image.YCbCrSubsampleRatio422,
}

// apply returns a picture as it looks upright.
func (o orientation) apply(m image.Image) image.Image {
	if m, ok := m.(*image.YCbCr); ok {
		if ratio, ok := turned[m.SubsampleRatio]; ok {
			return o.applyYCbCr(m, ratio)
		}
	}
	if m, ok := m.(*image.Gray); ok {
		p := o.turn(plane{pix: m.Pix, stride: m.Stride, w: m.Rect.Dx(), h: m.Rect.Dy(), n: 1})
		return &image.Gray{Pix: p.pix, Stride: p.stride, Rect: image.Rect(0, 0, p.w, p.h)}
	}
	flat, ok := m.(*image.NRGBA)
	if !ok {
		flat = image.NewNRGBA(m.Bounds())
		draw.Draw(flat, flat.Rect, m, m.Bounds().Min, draw.Src)
	}
	p := o.turn(plane{pix: flat.Pix, stride: flat.Stride, w: flat.Rect.Dx(), h: flat.Rect.Dy(), n: 4})
	return &image.NRGBA{Pix: p.pix, Stride: p.stride, Rect: image.Rect(0, 0, p.w, p.h)}
}

// applyYCbCr turns each channel by itself, which takes a third of the memory.
func (o orientation) applyYCbCr(m *image.YCbCr, ratio image.YCbCrSubsampleRatio) image.Image {
	if !o.swaps() {
		ratio = m.SubsampleRatio
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cw, ch := chroma(w, h, m.SubsampleRatio)
	y := o.turn(plane{pix: m.Y, stride: m.YStride, w: w, h: h, n: 1})
	cb := o.turn(plane{pix: m.Cb, stride: m.CStride, w: cw, h: ch, n: 1})
	cr := o.turn(plane{pix: m.Cr, stride: m.CStride, w: cw, h: ch, n: 1})
	return &image.YCbCr{
		Y: y.pix, Cb: cb.pix, Cr: cr.pix, YStride: y.stride, CStride: cb.stride,
		SubsampleRatio: ratio, Rect: image.Rect(0, 0, y.w, y.h),
	}
}

// chroma returns the size of the colour channels of a picture.
func chroma(w, h int, ratio image.YCbCrSubsampleRatio) (int, int) {
	switch ratio {
	case image.YCbCrSubsampleRatio420:
		return (w + 1) / 2, (h + 1) / 2
	case image.YCbCrSubsampleRatio422:
		return (w + 1) / 2, h
	case image.YCbCrSubsampleRatio440:
		return w, (h + 1) / 2
	}
	return w, h
}
