package dispatcher

import (
	"errors"

	"github.com/kabar-gateway/kabar/inbox"
)

// TextSent is the documented text of a message that was sent.
const TextSent = "Pesan terkirim"

// The documented texts of messages that were not.
const (
	textNotSent    = "Gagal mengirim pesan"
	textFormat     = "Gagal mengirim pesan: harap menggunakan format yang seharusnya"
	textNoReceiver = "Tidak dapat mengirim pesan kepada pembeli"
	textTooMany    = "Terlalu banyak percobaan, coba lagi nanti"
	textAdminsOnly = "Pengiriman pesan untuk kategori ini hanya dapat ditujukan kepada admin"
)

// SendFailure returns what a client is told about an error of Send: the documented
// text, and the stable word that the HTTP interface and sockets share.
func SendFailure(err error) (text, code string) {
	var invalid *InvalidError
	var limit *LimitError
	switch {
	case errors.As(err, &limit):
		return textTooMany, "rate_limited"
	case errors.As(err, &invalid):
		if problem := invalid.Fields["receiver_id"]; len(invalid.Fields) == 1 && problem != "" && problem != "is required" {
			return textNoReceiver, "invalid"
		}
		return textFormat, "invalid"
	case errors.Is(err, ErrUnknownReceiver):
		return textNoReceiver, "not_found"
	case errors.Is(err, ErrAdminsOnly):
		return textAdminsOnly, "forbidden"
	case errors.Is(err, inbox.ErrConflict):
		return textNotSent, "conflict"
	}
	return textNotSent, "unavailable"
}
