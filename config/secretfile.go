package config

import (
	"fmt"
	"strings"
)

// secret is a value that can be given by the name of a file that holds it.
type secret struct {
	key   string // with _file added, the key of that name
	file  string
	value *string
}

func secrets(c *Config) []secret {
	all := []secret{
		{"redis.url", c.Redis.URLFile, (*string)(&c.Redis.URL)},
		{"auth.hs256_secret", c.Auth.HS256SecretFile, (*string)(&c.Auth.HS256Secret)},
		{"apns.certificate_password", c.APNs.CertificatePasswordFile, (*string)(&c.APNs.CertificatePassword)},
		{"webpush.private_key", c.WebPush.PrivateKeyFile, (*string)(&c.WebPush.PrivateKey)},
	}
	for i := range c.Apps {
		a := &c.Apps[i].APNs
		all = append(all, secret{fmt.Sprintf("apps[%d].apns.certificate_password", i), a.CertificatePasswordFile, (*string)(&a.CertificatePassword)})
	}
	for i := range c.Services {
		w := &c.Services[i].Webhook
		all = append(all, secret{fmt.Sprintf("services[%d].webhook.secret", i), w.SecretFile, (*string)(&w.Secret)})
	}
	return all
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
		case strings.Contains(s.key, "[") && *s.value != "": // override handles all other secrets
			p.add(s.key, "must not be set together with %s_file", s.key)
		case err != nil:
			p.add(s.key+"_file", "must be a file that can be read: %w", err)
		case text == "":
			p.add(s.key+"_file", "must hold the secret, but %s is empty", s.file)
		default:
			*s.value = text
		}
	}
}
