package push

import "log/slog"

// DefaultApp is the name of the app that the configuration's sections fcm and apns describe,
// and of devices that name no app.
const DefaultApp = "default"

// The environments of APNs. A device token is valid in the one that its app was signed for:
// apps of the store and of TestFlight in production, those that Xcode installs in the
// sandbox.
const (
	Production = "production"
	Sandbox    = "sandbox"
)

// A Route is a way to phones or browsers: an app, their platform and, where the provider of
// the platform has several, its environment. Each has a sender of its own, and is judged by
// itself.
type Route struct {
	App         string
	Platform    string // "android", "ios" or "web"
	Environment string // of APNs, or the push service of a browser; empty for FCM, also for that of iOS apps on Firebase
}

// String returns the route's name, such as "default.android" or "seller.ios.sandbox". It is
// part of keys in Redis.
func (r Route) String() string {
	name := r.App + "." + r.Platform
	if r.Environment != "" {
		name += "." + r.Environment
	}
	return name
}

// LogValue implements [slog.LogValuer] with a group of the route's parts. Under the key "" they
// stand beside the other attributes of a log line.
func (r Route) LogValue() slog.Value {
	parts := []slog.Attr{slog.String("app", r.App), slog.String("platform", r.Platform)}
	if r.Environment != "" {
		parts = append(parts, slog.String("environment", r.Environment))
	}
	return slog.GroupValue(parts...)
}

// Elsewhere returns the same way in the other environment of APNs.
func (r Route) Elsewhere() Route {
	r.Environment = map[string]string{Production: Sandbox, Sandbox: Production}[r.Environment]
	return r
}
