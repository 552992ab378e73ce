package metadata

import "encoding/binary"

// metadataBoxes are the boxes of an MP4 file (ISO/IEC 14496-12) that hold metadata,
// positions and names among it.
var metadataBoxes = map[string]bool{"udta": true, "meta": true, "uuid": true}

// parentBoxes are the boxes in which such boxes lie, by the box in which they lie
// themselves; "" is the file.
var parentBoxes = map[string]map[string]bool{
	"":     {"moov": true, "moof": true},
	"moov": {"trak": true},
	"trak": {"mdia": true},
	"moof": {"traf": true},
}

// stripMP4 makes free space of the boxes with metadata, in place, since an MP4 file says
// where its samples lie by their distance from its beginning.
func stripMP4(file []byte) error { return stripBoxes("", file) }

func stripBoxes(parent string, boxes []byte) error {
	for len(boxes) >= 8 { // fewer bytes are padding
		header, size := 8, uint64(binary.BigEndian.Uint32(boxes))
		switch size {
		case 0: // up to the end of the file
			size = uint64(len(boxes))
		case 1:
			if len(boxes) < 16 {
				return damaged("an MP4 box is cut off")
			}
			header, size = 16, binary.BigEndian.Uint64(boxes[8:])
		}
		if size < uint64(header) || size > uint64(len(boxes)) {
			return damaged("an MP4 box is cut off")
		}
		name, data := string(boxes[4:8]), boxes[header:size]
		switch {
		case metadataBoxes[name]:
			copy(boxes[4:8], "free")
			clear(data)
		case parentBoxes[parent][name]:
			if err := stripBoxes(name, data); err != nil {
				return err
			}
		}
		boxes = boxes[size:]
	}
	return nil
}
