package apns

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sideshow/apns2/certificate"
)

// LoadCertificate reads a client certificate and its private key from a .p12, .pfx or .pem
// file. password is empty if the file is not encrypted.
func LoadCertificate(file, password string) (*tls.Certificate, error) {
	load := certificate.FromPemFile
	if ext := strings.ToLower(filepath.Ext(file)); ext == ".p12" || ext == ".pfx" {
		load = certificate.FromP12File
	}
	c, err := load(file, password)
	if err != nil {
		return nil, fmt.Errorf("apns: certificate %s: %w", file, err)
	}
	return &c, nil
}
