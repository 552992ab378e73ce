package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"github.com/bep/imagemeta"
)

// secret is in all metadata of the test's files.
const secret = "6.2088S 106.8456E"

// exifWith returns EXIF data with an orientation, a camera whose name is secret, and a
// position.
func exifWith(o uint16) []byte {
	b := []byte("II*\x00\x08\x00\x00\x00") // little endian
	entry := func(tag, kind uint16, count, value uint32) {
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, kind)
		b = binary.LittleEndian.AppendUint32(b, count)
		b = binary.LittleEndian.AppendUint32(b, value)
	}
	const directory = 8 + 2 + 3*12 + 4
	b = append(b, 3, 0)
	entry(0x010F, 2, uint32(len(secret)+1), directory)
	entry(0x0112, 3, 1, uint32(o))
	entry(0x8825, 4, 1, directory+uint32(len(secret))+1) // the GPS directory
	b = append(b, 0, 0, 0, 0)
	b = append(append(b, secret...), 0)
	b = append(b, 1, 0)
	entry(0x0001, 2, 2, 'S') // GPSLatitudeRef
	return append(b, 0, 0, 0, 0)
}

// upright4 is a picture of four areas in different colours.
func upright4(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, area(x*2/w, y*2/h))
		}
	}
	return m
}

func area(x, y int) color.NRGBA {
	return [2][2]color.NRGBA{{{250, 20, 20, 255}, {20, 250, 20, 255}}, {{20, 20, 250, 255}, {240, 240, 240, 255}}}[y][x]
}

// storedAs returns a picture as a camera stores it with an orientation. The table is that of
// the EXIF standard: where the first stored row and the first stored column belong.
func storedAs(m image.Image, o int) image.Image {
	row := [...]string{1: "top", 2: "top", 3: "bottom", 4: "bottom", 5: "left", 6: "right", 7: "right", 8: "left"}[o]
	column := [...]string{1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"}[o]
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	size := image.Rect(0, 0, w, h)
	if row == "left" || row == "right" {
		size = image.Rect(0, 0, h, w)
	}
	out := image.NewNRGBA(size)
	for r := range size.Dy() {
		for c := range size.Dx() {
			var x, y int
			for edge, n := range map[string]int{row: r, column: c} {
				switch edge {
				case "top":
					y = n
				case "bottom":
					y = h - 1 - n
				case "left":
					x = n
				case "right":
					x = w - 1 - n
				}
			}
			out.Set(c, r, m.At(x, y))
		}
	}
	return out
}

// looks fails the test unless a picture has the size and the four areas of upright4.
func looks(t *testing.T, m image.Image, w, h int) {
	t.Helper()
	if m.Bounds().Dx() != w || m.Bounds().Dy() != h {
		t.Fatalf("%v, want %d x %d", m.Bounds(), w, h)
	}
	for y := range 2 {
		for x := range 2 {
			got := color.NRGBAModel.Convert(m.At(w/4+x*w/2, h/4+y*h/2)).(color.NRGBA)
			want := area(x, y)
			for _, d := range []int{int(got.R) - int(want.R), int(got.G) - int(want.G), int(got.B) - int(want.B)} {
				if d < -40 || d > 40 {
					t.Errorf("area %d, %d is %v, want %v", x, y, got, want)
					break
				}
			}
		}
	}
}

// nothingTold fails the test if metadata is left in a file.
func nothingTold(t *testing.T, format imagemeta.ImageFormat, file []byte, permitted ...string) {
	t.Helper()
	if bytes.Contains(file, []byte(secret)) {
		t.Error("the secret is left")
	}
	_, err := imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(file), ImageFormat: format, Sources: imagemeta.EXIF | imagemeta.XMP | imagemeta.IPTC,
		ShouldHandleTag: func(imagemeta.TagInfo) bool { return true },
		HandleTag: func(tag imagemeta.TagInfo) error {
			if len(permitted) == 0 || tag.Tag != permitted[0] {
				t.Errorf("%s %s is left", tag.Namespace, tag.Tag)
			}
			return nil
		},
	})
	if err != nil {
		t.Error(err)
	}
}

func jpegOf(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tagged returns a JPEG with all kinds of metadata, and a colour profile.
func tagged(file []byte, o uint16) []byte {
	out := append([]byte{}, file[:2]...)
	out = appendSegment(out, 0xE1, append([]byte("Exif\x00\x00"), exifWith(o)...))
	out = appendSegment(out, 0xE1, []byte("http://ns.adobe.com/xap/1.0/\x00<x>"+secret+"</x>"))
	out = appendSegment(out, 0xE2, []byte("ICC_PROFILE\x00\x01\x01colours"))
	out = appendSegment(out, 0xE2, []byte("MPF\x00"+secret))
	out = appendSegment(out, 0xED, []byte("Photoshop 3.0\x00"+secret))
	out = appendSegment(out, 0xFE, []byte(secret))
	out = append(out, file[2:]...)
	return append(out, "the video of a moving photo: "+secret...)
}

// A picture of any orientation is stored upright.
func TestJPEG(t *testing.T) {
	const w, h = 64, 32
	for o := range 9 {
		var stored image.Image = upright4(w, h)
		if o > 0 {
			stored = storedAs(stored, o)
		}
		gray := image.NewGray(stored.Bounds())
		for name, m := range map[string]image.Image{"colours": stored, "gray": gray} {
			got, err := Strip("image/jpeg", tagged(jpegOf(t, m), uint16(o)))
			if err != nil {
				t.Fatal(err)
			}
			nothingTold(t, imagemeta.JPEG, got)
			if !bytes.Contains(got, []byte("ICC_PROFILE\x00\x01\x01colours")) {
				t.Errorf("orientation %d, %s: the colour profile is gone", o, name)
			}
			shown, err := jpeg.Decode(bytes.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			if name == "colours" {
				looks(t, shown, w, h)
			} else if _, ok := shown.(*image.Gray); !ok || shown.Bounds() != image.Rect(0, 0, w, h) {
				t.Errorf("orientation %d: %T of %v", o, shown, shown.Bounds())
			}
		}
	}
}

// A picture that is upright is not compressed again.
func TestJPEGKeepsItsPixels(t *testing.T) {
	file := jpegOf(t, upright4(64, 32))
	want := appendSegment(append([]byte{}, file[:2]...), 0xE2, []byte("ICC_PROFILE\x00\x01\x01colours"))
	want = append(want, file[2:]...)
	if got, err := Strip("image/jpeg", tagged(file, 1)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d; %v", len(got), len(want), err)
	}
}

// Sizes that are odd, and chroma of every ratio.
func TestTurnedRatios(t *testing.T) {
	for ratio := range image.YCbCrSubsampleRatio410 + 1 {
		for o := orientation(2); o <= 8; o++ {
			m := image.NewYCbCr(image.Rect(0, 0, 33, 17), ratio)
			got := o.apply(m)
			want := image.Rect(0, 0, 33, 17)
			if o.swaps() {
				want = image.Rect(0, 0, 17, 33)
			}
			if got.Bounds() != want {
				t.Errorf("%v, orientation %d: %v", ratio, o, got.Bounds())
			}
			for y := range want.Dy() {
				for x := range want.Dx() {
					got.At(x, y) // within the planes
				}
			}
			jpegOf(t, got)
		}
	}
}

// A picture that is too large to be turned keeps its orientation, and nothing else.
func TestLargePicture(t *testing.T) {
	file := jpegOf(t, image.NewGray(image.Rect(0, 0, 8, 8)))
	i := bytes.Index(file, []byte{0xFF, 0xC0}) // the frame says the size
	binary.BigEndian.PutUint16(file[i+5:], 60000)
	binary.BigEndian.PutUint16(file[i+7:], 60000)
	got, err := Strip("image/jpeg", tagged(file, 6))
	if err != nil {
		t.Fatal(err)
	}
	nothingTold(t, imagemeta.JPEG, got, "Orientation")
	if !bytes.Contains(got, orientation(6).exif()) {
		t.Error("the orientation is gone")
	}
}

func pngOf(t *testing.T, m image.Image, o uint16, chunks ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	const header = len(pngSignature) + 25
	out := bytes.Clone(b.Bytes()[:header])
	out = appendChunk(out, "gAMA", []byte{0, 0, 0xB1, 0x8F})
	out = appendChunk(out, "eXIf", exifWith(o))
	out = appendChunk(out, "tEXt", []byte("Comment\x00"+secret))
	out = appendChunk(out, "iTXt", []byte("XML:com.adobe.xmp\x00\x00\x00\x00\x00"+secret))
	out = appendChunk(out, "zxIf", []byte(secret))
	for _, c := range chunks {
		out = appendChunk(out, c, []byte("\x00\x00\x00\x01\x00\x00\x00\x00"))
	}
	return append(append(out, b.Bytes()[header:]...), secret...)
}

func TestPNG(t *testing.T) {
	const w, h = 64, 32
	for o := 1; o <= 8; o++ {
		got, err := Strip("image/png", pngOf(t, storedAs(upright4(w, h), o), uint16(o)))
		if err != nil {
			t.Fatal(err)
		}
		nothingTold(t, imagemeta.PNG, got)
		shown, err := png.Decode(bytes.NewReader(got))
		if err != nil {
			t.Fatal(err)
		}
		looks(t, shown, w, h)
		if o == 1 && !bytes.Contains(got, []byte("gAMA")) {
			t.Error("the gamma is gone")
		}
	}
	got, err := Strip("image/png", pngOf(t, upright4(w, h), 6, "acTL"))
	if err != nil {
		t.Fatal(err)
	}
	nothingTold(t, imagemeta.PNG, got, "Orientation")
	if !bytes.Contains(got, orientation(6).exif()) || !bytes.Contains(got, []byte("acTL")) {
		t.Error("the animation or its orientation is gone")
	}
	last := got[len(got)-4:]
	if binary.BigEndian.Uint32(last) != crc32.ChecksumIEEE([]byte("IEND")) {
		t.Error("something follows the end")
	}
}

func TestWebP(t *testing.T) {
	chunk := func(name, data string) string {
		b := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(data)))
		if len(data)%2 == 1 {
			data += "\x00"
		}
		return string(b) + data
	}
	for o := uint16(1); o <= 8; o++ {
		chunks := chunk("VP8X", "\x2c\x00\x00\x00\x07\x00\x00\x07\x00\x00") + chunk("ICCP", "colours") + chunk("VP8L", "pixel") +
			chunk("EXIF", string(exifWith(o))) + chunk("XMP ", secret) + chunk("JUNK", secret)
		file := "RIFF" + string(binary.LittleEndian.AppendUint32(nil, uint32(4+len(chunks)))) + "WEBP" + chunks + "behind" + secret
		got, err := Strip("image/webp", []byte(file))
		if err != nil {
			t.Fatal(err)
		}
		want, flags := chunk("ICCP", "colours")+chunk("VP8L", "pixel"), byte(0x20)
		if o != 1 {
			want, flags = want+chunk("EXIF", string(orientation(o).exif())), 0x28
		}
		if !strings.HasSuffix(string(got), want) || got[20] != flags || int(binary.LittleEndian.Uint32(got[4:]))+8 != len(got) {
			t.Errorf("orientation %d: %q", o, got)
		}
		if bytes.Contains(got, []byte(secret)) {
			t.Error("the secret is left")
		}
	}
}

func box(name, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(data)))) + name + data
}

// The boxes with metadata become free space, and everything else stays where it is.
func TestMP4(t *testing.T) {
	position := box("udta", box("\xa9xyz", secret))
	file := box("ftyp", "mp42") +
		box("moov", box("mvhd", "length")+position+box("meta", secret)+box("trak", box("tkhd", "track")+position+box("mdia", box("mdhd", "x")+position))) +
		box("uuid", secret) +
		"\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x00\x16sample"
	got, err := Strip("video/mp4", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	empty := func(name, data string) string { return box("free", strings.Repeat("\x00", len(data))) }
	want := strings.NewReplacer(
		position, empty("", position[8:]), box("meta", secret), empty("", secret), box("uuid", secret), empty("", secret),
	).Replace(file)
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Files that are cut off anywhere, and boxes within boxes without end, end without a panic.
func TestDamaged(t *testing.T) {
	for media, file := range map[string][]byte{
		"image/jpeg": tagged(jpegOf(t, upright4(16, 16)), 6),
		"image/png":  pngOf(t, upright4(16, 16), 6),
		"video/mp4":  []byte(box("moov", box("trak", box("udta", secret))) + box("mdat", "sample")),
		"image/webp": []byte("RIFF\x12\x00\x00\x00WEBPVP8L\x05\x00\x00\x00pixel\x00"),
	} {
		for n := range file {
			got, err := Strip(media, bytes.Clone(file[:n]))
			if err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("%s of %d bytes: %v", media, n, err)
			}
			if err == nil && bytes.Contains(got, []byte(secret)) {
				t.Errorf("%s of %d bytes keeps the secret", media, n)
			}
		}
	}
	for _, media := range []string{"image/jpeg", "image/png", "image/webp", "video/mp4"} {
		if _, err := Strip(media, []byte("nonsense, at length")); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", media, err)
		}
	}
	deep := make([]byte, 8<<20)
	for i := 0; i < len(deep); i += 8 {
		binary.BigEndian.PutUint32(deep[i:], uint32(len(deep)-i))
		copy(deep[i+4:], "moov")
	}
	if _, err := Strip("video/mp4", deep); err != nil {
		t.Error(err)
	}
}

// Files without metadata that Strip knows stay as they are.
func TestOthers(t *testing.T) {
	if got, err := Strip("application/pdf", []byte("%PDF-1.7\n")); err != nil || string(got) != "%PDF-1.7\n" {
		t.Errorf("%q, %v", got, err)
	}
}
