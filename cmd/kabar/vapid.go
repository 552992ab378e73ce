package main

import (
	"fmt"

	"github.com/kabar-gateway/kabar/dispatcher/webpush"
)

type vapidCmd struct{}

// Run implements the command.
func (vapidCmd) Run(e *env) error {
	key := webpush.NewPrivateKey()
	public, err := webpush.PublicKey(key)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "webpush:\n  private_key: %s # public key: %s\n  subject: mailto:you@example.com # how push services reach you\n", key, public)
	return err
}
