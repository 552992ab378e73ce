package fcm

import (
	"encoding/json"
	"fmt"

	"firebase.google.com/go/v4/messaging"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// appleMessage returns the message of a delivery to iOS: the part for APNs alone, so that the
// app gets what it would get without Firebase.
func appleMessage(d *push.Delivery, header map[string]string, payload []byte) (*messaging.Message, error) {
	var top, aps map[string]json.RawMessage
	if err := json.Unmarshal(payload, &top); err != nil {
		return nil, fmt.Errorf("payload of APNs: %w", err)
	}
	if err := json.Unmarshal(top["aps"], &aps); err != nil {
		return nil, fmt.Errorf("aps: %w", err)
	}
	delete(top, "aps")
	m := to(d.Token, d.FID)
	m.APNS = &messaging.APNSConfig{Headers: header, Payload: &messaging.APNSPayload{
		Aps: &messaging.Aps{CustomData: members(aps)}, CustomData: members(top),
	}}
	if label := d.Presentation.Label; label != "" {
		m.FCMOptions = &messaging.FCMOptions{AnalyticsLabel: label}
	}
	return m, nil
}

// members returns the members of an object as the SDK takes them.
func members(object map[string]json.RawMessage) map[string]any {
	all := make(map[string]any, len(object))
	for name, value := range object {
		all[name] = value
	}
	return all
}
