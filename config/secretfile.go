package config

import "strings"

// secret is a value that can be given by the name of a file that holds it.
type secret struct {
	key   string // with _file added, the key of that name
	file  string
	value *string
}

func secrets(c *Config) []secret {
	return []secret{
		{"redis.url", c.Redis.URLFile, (*string)(&c.Redis.URL)},
		{"auth.hs256_secret", c.Auth.HS256SecretFile, (*string)(&c.Auth.HS256Secret)},
		{"apns.certificate_password", c.APNs.CertificatePasswordFile, (*string)(&c.APNs.CertificatePassword)},
	}
}

// readSecrets reads the secrets that are given by files, without the line break
// that editors leave at the end.
func readSecrets(p *problems, c *Config) {
	for _, s := range secrets(c) {
		if s.file == "" {
			continue
		}
		data, err := readFile(s.file)
		text := strings.TrimRight(string(data), "\r\n")
		switch {
		case err != nil:
			p.add(s.key+"_file", "must be a file that can be read: %w", err)
		case text == "":
			p.add(s.key+"_file", "must hold the secret, but %s is empty", s.file)
		default:
			*s.value = text
		}
	}
}
