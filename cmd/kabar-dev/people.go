package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/kabar-gateway/kabar/cmd/internal/app"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/inbox"
)

// demoKey is the key of the demo service. It is public, so the playground listens on
// loopback only.
const demoKey = "demo-key"

// demoService is the service with demoKey.
func demoService() config.Service {
	sum := sha256.Sum256([]byte(demoKey))
	return config.Service{Name: "demo", KeySHA256: hex.EncodeToString(sum[:])}
}

// A person is a demo user with the phones that the playground registers.
type person struct {
	ID             int64
	Name, Username string
	Token          string // what they sign in with
	Phones         []devices.Device
}

// people are the users of the documented samples, with the documented tokens if any.
var people = []person{
	{ID: 66, Name: "Testing Account", Username: "testingaccount", Token: "tok3ntok3n", Phones: []devices.Device{
		{Platform: devices.Android, Token: "demo-android-66", Manufacturer: "Samsung", Model: "Galaxy A54"},
		{Platform: devices.IOS, Token: "demoiphone66", Model: "iPhone 15", OperatingSystem: "iOS 18"},
	}},
	{ID: 15, Name: "Me Ow", Username: "meow", Token: "tokenkeyiskmzwa8awaa", Phones: []devices.Device{
		{Platform: devices.Android, Token: "demo-android-15", Manufacturer: "Xiaomi", Model: "Redmi Note 12", Style: devices.StyleData},
	}},
	{ID: 52357, Name: "Liem Lie Wie", Username: "ebenhaezernet", Token: "demo-52357", Phones: []devices.Device{
		{Platform: devices.IOS, Token: "demoiphone52357", Model: "iPhone SE", OperatingSystem: "iOS 17"},
	}},
	{ID: 110677, Name: "Demo Seller", Username: "demoseller", Token: "JheQQS0OKApu3hGJwkRH"},
}

// phoneName is the manufacturer and model of a phone.
func phoneName(d devices.Device) string {
	return strings.TrimSpace(d.Manufacturer + " " + d.Model)
}

// populated reports whether an earlier run has created the demo users.
func populated(ctx context.Context, core *app.Core) (bool, error) {
	_, err := core.Inbox.Profiles.Get(ctx, people[0].ID)
	if errors.Is(err, inbox.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// createPeople creates or updates the demo users and registers their phones.
func createPeople(ctx context.Context, core *app.Core) error {
	for _, p := range people {
		profile := inbox.Profile{Name: &p.Name, Username: &p.Username}
		if err := core.Inbox.Profiles.Set(ctx, p.ID, profile); err != nil {
			return fmt.Errorf("demo user %d: %w", p.ID, err)
		}
		if err := core.Credentials.SetToken(ctx, p.ID, p.Token); err != nil {
			return fmt.Errorf("demo user %d: %w", p.ID, err)
		}
		if err := removeBrowsers(ctx, core, p.ID); err != nil {
			return fmt.Errorf("browsers of user %d: %w", p.ID, err)
		}
		for _, phone := range p.Phones {
			if _, err := core.Devices.Register(ctx, p.ID, phone, core.Dispatcher.Reminder(p.ID)); err != nil {
				return fmt.Errorf("demo phone of user %d: %w", p.ID, err)
			}
		}
	}
	return nil
}

// removeBrowsers removes those of a user that an earlier run has left: their push service is
// gone.
func removeBrowsers(ctx context.Context, core *app.Core, user int64) error {
	listed, err := core.Devices.List(ctx, user)
	if err != nil {
		return err
	}
	for _, d := range listed {
		if d.Platform != devices.Web {
			continue
		}
		if err := core.Devices.Remove(ctx, user, d.Platform, d.Token); err != nil {
			return err
		}
	}
	return nil
}

// The playground's own event, for the first user.
const (
	welcomeSource = "service:kabar-dev"
	welcomeEvent  = `{"type": "announcement", "receiver_id": 66,
		"title": "Welcome to Kabar", "message": "This notification waits in the inbox until it is marked as read."}`
)

// welcome sends the first user an announcement and returns the id of their
// notification.
func welcome(ctx context.Context, core *app.Core) (string, error) {
	event, err := core.Dispatcher.Parse([]byte(welcomeEvent))
	if err != nil {
		return "", fmt.Errorf("welcome: %w", err)
	}
	published := core.Dispatcher.Publish(ctx, welcomeSource, event)[0]
	if published.Err != nil {
		return "", fmt.Errorf("welcome: %w", published.Err)
	}
	receivers, err := core.Dispatcher.Delivery.Status(ctx, welcomeSource, published.ID)
	if err != nil {
		return "", fmt.Errorf("welcome: %w", err)
	}
	return receivers[0].NotificationID, nil
}

// A directory returns the phone that is named by its token, and its owner, as "66 Testing
// Account", or "" when it has none.
type directory func(ctx context.Context, named devices.Device) (phone devices.Device, owner string)

// newDirectory returns a directory that reads the gateway's registry.
func newDirectory(core *app.Core) directory {
	return func(ctx context.Context, phone devices.Device) (devices.Device, string) {
		owners, err := core.Devices.Owners(ctx, []devices.Device{phone})
		if err != nil || owners[0].User == 0 {
			return phone, ""
		}
		user := owners[0].User
		listed, err := core.Devices.List(ctx, user)
		if err != nil {
			return phone, ""
		}
		for _, l := range listed {
			if l.Platform == phone.Platform && l.Token == phone.Token {
				phone = l
			}
		}
		owner := strconv.FormatInt(user, 10)
		if p, err := core.Inbox.Profiles.Get(ctx, user); err == nil && p.Name != nil {
			owner += " " + *p.Name
		}
		return phone, owner
	}
}
