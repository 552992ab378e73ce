// Package api is Kabar's HTTP API: for apps the documented endpoints for devices,
// notifications and messages, for services the endpoints that publish events and set users.
//
// Each file holds one resource. An endpoint returns a reply, or an error that
// one table (errors.go) turns into a status, a code and the documented envelope;
// nothing else writes to a connection. The contract is docs/openapi.yaml, served
// at /openapi.json; a test compares it with the routes.
package api

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/cmd/internal/edge"
	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/receipt"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/attachments"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The parts of [inbox.Store] that the handler needs. The store's parts document the
// methods and their errors.
type (
	// Notifications lists notifications and marks them as read; see
	// [inbox.Notifications].
	Notifications interface {
		List(ctx context.Context, user int64, types []string, offset, count int) ([]inbox.Notification, error)
		MarkRead(ctx context.Context, user int64, id string) (unread int, err error)
		MarkAllRead(ctx context.Context, user int64) error
	}
	// Counters returns unread counts; see [inbox.Counters].
	Counters interface {
		Unreads(ctx context.Context, user int64) (model.Unreads, error)
	}
	// Conversations reads, searches and deletes messages; see [inbox.Conversations].
	Conversations interface {
		List(ctx context.Context, user int64, unread bool, offset, count int) ([]inbox.Conversation, error)
		Search(ctx context.Context, user int64, text string, unread bool, offset, count int) ([]inbox.Conversation, error)
		Messages(ctx context.Context, user int64, conversation string, offset, count int) ([]inbox.Message, error)
		Message(ctx context.Context, user int64, id string) (inbox.Message, error)
		Delete(ctx context.Context, user int64, conversation string) error
		DeleteMessage(ctx context.Context, user int64, id string) error
	}
	// Profiles holds profiles and settings; see [inbox.Profiles].
	Profiles interface {
		Set(ctx context.Context, user int64, p inbox.Profile) error
		GetAll(ctx context.Context, users ...int64) (map[int64]inbox.Profile, error)
		Settings(ctx context.Context, user int64) (inbox.Settings, error)
		SetQuietHours(ctx context.Context, user int64, q *model.QuietHours, zone *string) error
	}
	// Contacts lists the partners of a user's transactions; see [inbox.Contacts].
	Contacts interface {
		List(ctx context.Context, user int64) ([]model.Contact, error)
	}
)

// A SignIn verifies users' credentials that are kept elsewhere. [signin.Upstream] and
// [signin.JWT] implement it and document their errors.
type SignIn interface {
	Authenticate(ctx context.Context, user int64, token, address string) error
}

// A TokenReader is a SignIn whose tokens carry their user and their expiry. Clients may
// send one as a bearer token, without a user id. [signin.JWT] is one.
type TokenReader interface {
	SignIn
	// Claims reads a token without verifying it; Authenticate does that.
	Claims(token string) (user int64, until time.Time, err error)
}

// Devices holds users' phones and their preferences. [devices.Registry] implements it and
// documents the methods and their errors.
type Devices interface {
	Register(ctx context.Context, user int64, d devices.Device, announce devices.Announcement) (devices.Device, error)
	Replace(ctx context.Context, user int64, oldToken string, to devices.Device) (devices.Device, error)
	Remove(ctx context.Context, user int64, p devices.Platform, token string) error
	Find(ctx context.Context, user int64, p devices.Platform, token string) (devices.Device, error)
	Preferences(ctx context.Context, user int64, p devices.Platform, token string) (devices.Preferences, error)
	Prefer(ctx context.Context, user int64, p devices.Platform, token string, change func(*devices.Preferences)) (devices.Preferences, error)
}

// Credentials holds users' credentials, and tickets. [credentials.Store] implements it and
// documents the methods and their errors.
type Credentials interface {
	Authenticate(ctx context.Context, user int64, token, address string) (vouched int64, err error)
	Vouch(ctx context.Context, user int64) (vouched int64, err error)
	SetToken(ctx context.Context, user int64, token string) error
	Issue(ctx context.Context, s credentials.Session) (ticket string, err error)
	Redeem(ctx context.Context, ticket string) (credentials.Session, error)
}

// The parts of a [dispatcher.Dispatcher] that the handler needs. They document the
// methods and their errors.
type (
	// Publisher reads and publishes events; see [dispatcher.Dispatcher].
	Publisher interface {
		Parse(raw []byte) (*event.Event, error)
		Publish(ctx context.Context, source string, events ...*event.Event) []dispatcher.Published
		Retract(ctx context.Context, source, id string) error
		Reminder(user int64) devices.Announcement
		LocaleOf(ctx context.Context, user int64, accept string) (text.Locale, error)
	}
	// Deliveries returns the delivery status of events, and makes pushes due that were
	// delayed by quiet hours; see [delivery.Workers].
	Deliveries interface {
		Status(ctx context.Context, source, id string) ([]delivery.ReceiverStatus, error)
		ReleaseQuiet(ctx context.Context, user int64) error
	}
	// Broadcasts starts and steers promotions to an audience; see
	// [broadcast.Broadcasts].
	Broadcasts interface {
		Parse(raw []byte) (*broadcast.Broadcast, error)
		Start(ctx context.Context, source string, b *broadcast.Broadcast) (duplicate bool, err error)
		Get(ctx context.Context, source, id string) (broadcast.Status, error)
		Set(ctx context.Context, source, id string, to broadcast.State) (broadcast.Status, error)
	}
	// Receipts takes what apps say became of notifications; see [receipt.Receipts].
	Receipts interface {
		Accept(ctx context.Context, user int64, device string, receipts []receipt.Receipt) error
	}
	// Chat sends messages and marks them as read; see [chat.Chat].
	Chat interface {
		Send(ctx context.Context, sender int64, m chat.OutgoingMessage) (id string, err error)
		ReadConversation(ctx context.Context, user int64, conversation, upTo string) error
		ReadMessage(ctx context.Context, user int64, m *inbox.Message) error
	}
	// Eraser erases users; see [retention.Janitor].
	Eraser interface {
		Erase(ctx context.Context, user int64) error
	}
)

// Attachments stores the files of chats. [attachments.Store] implements it and documents
// the methods and their errors.
type Attachments interface {
	Put(ctx context.Context, user int64, name string, r io.Reader) (attachments.Attachment, error)
	Get(ctx context.Context, key, name string) (*attachments.File, error)
	Erase(ctx context.Context, user int64) error
}

// The scopes of services.
const (
	ScopeEvents = "events" // publish events and read their delivery status
	ScopeUsers  = "users"  // set and erase users

	ScopeBroadcasts = "broadcasts" // start and steer broadcasts, and read their progress
)

// A Service is a backend that may call the service endpoints.
type Service struct {
	// Name is unique; the ids of events are unique within it.
	Name string
	// KeySHA256 is the digest of the key that the service presents.
	KeySHA256 [sha256.Size]byte
	// Scopes are what it may do: everything when nil.
	Scopes []string
	// Strict refuses its events that have members which Kabar does not know. Otherwise
	// they are accepted with warnings.
	Strict bool
}

// Options configure the handler. The parts of the inbox, Devices, Credentials
// and the parts of the dispatcher are required.
type Options struct {
	// Notifications to Contacts are parts of an [inbox.Store].
	Notifications Notifications
	Counters      Counters
	Conversations Conversations
	Profiles      Profiles
	Contacts      Contacts

	Devices     Devices
	Credentials Credentials
	Limits      Limits
	// Publisher to Eraser are parts of a [dispatcher.Dispatcher].
	Publisher  Publisher
	Deliveries Deliveries
	Broadcasts Broadcasts
	Receipts   Receipts
	Chat       Chat
	Eraser     Eraser
	// Types are the event types of this gateway: the built-in ones when nil.
	Types *event.Types

	// Apps are the names of the apps of this gateway, beside the default one.
	Apps     []string
	Services []Service
	// Browsers configures which browsers may register.
	Browsers Browsers
	// Proxies are trusted to name the client of a request. The zero value trusts none.
	Proxies edge.Proxies
	// Origins are those whose pages may use the API, beside our own.
	Origins edge.Origins
	// SignIn verifies users' credentials that are kept elsewhere; nil when Credentials
	// keeps them.
	SignIn SignIn
	// Attachments and Live may be nil: then their endpoints do not exist.
	Attachments Attachments
	Live        Live
	// PublicURL is the address of Kabar for clients, such as "https://chat.example.com".
	// When it is empty, it is taken from the request.
	PublicURL string
	// Texts is the message catalogue: the built-in one when nil.
	Texts *text.Catalogue
	// Locale is the language of answers to requests that ask for none, for users who
	// have none: Indonesian, the documented one, unless set.
	Locale text.Locale
	// Location is the zone of the times in answers: UTC when nil.
	Location *time.Location
	// Log gets failures of ours; requests at the debug level only, never with
	// parameters, credentials or bodies. Nothing is logged when nil.
	Log *slog.Logger
	// Metrics gets the counts and durations of requests; nil keeps them private.
	Metrics prometheus.Registerer
}

// api holds the resources, their authentication and the router that serves them.
type api struct {
	entrance *entrance
	router   *router
	auth     *authentication

	notifications *notifications
	receipts      *receipts
	registration  *registration
	browsers      *browsers
	preferences   *preferences
	conversations *conversations
	messages      *messages
	contacts      *contacts
	files         *files
	sockets       *sockets
	events        *events
	broadcasts    *broadcasts
	users         *users
}

// New returns a handler that serves the whole public interface. It keeps no state apart
// from metrics and, for a minute, users' languages. It limits the size of requests; the
// server sets the deadlines for reading them and for writing answers.
func New(opts Options) http.Handler { return newAPI(opts).entrance }

// withDefaults returns the options with a value for each that may be left out.
func (opts Options) withDefaults() Options {
	if opts.Location == nil {
		opts.Location = time.UTC
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Texts == nil {
		opts.Texts = text.Default()
	}
	if opts.Types == nil {
		opts.Types = event.NewTypes()
	}
	opts.Locale = text.Match("", "", opts.Locale)
	if opts.Metrics == nil {
		opts.Metrics = prometheus.NewRegistry()
	}
	return opts
}

func newAPI(opts Options) *api {
	opts = opts.withDefaults()
	words := newLanguage(opts.Texts, opts.Locale, opts.Publisher)
	fails := &failures{language: words, log: opts.Log}
	metrics := newMetrics(opts.Metrics)
	auth := newAuthentication(opts, metrics)
	avatar := DefaultAvatar(opts.PublicURL)
	pages := newOrigins(opts.Origins, opts.Log, metrics.origins)
	viewer := &messageViewer{profiles: opts.Profiles, location: opts.Location, defaultAvatar: avatar}
	a := &api{
		router: &router{mux: chi.NewRouter(), failures: fails, metrics: metrics, log: opts.Log},
		auth:   auth,
		notifications: &notifications{
			notifications: opts.Notifications, counters: opts.Counters, publisher: opts.Publisher,
			language: words, location: opts.Location, types: opts.Types, promo: opts.Types.Promos(),
		},
		receipts: &receipts{receipts: opts.Receipts, devices: opts.Devices},
		registration: &registration{
			devices:   opts.Devices,
			apps:      opts.Apps,
			added:     limited{opts.Limits.Registrations, metrics.refused},
			removed:   limited{opts.Limits.Removals, metrics.refused},
			publisher: opts.Publisher, language: words,
		},
		preferences: &preferences{
			devices: opts.Devices, profiles: opts.Profiles, deliveries: opts.Deliveries,
			language: words, location: opts.Location, mutable: opts.Types.Mutable(),
		},
		conversations: &conversations{
			conversations: opts.Conversations, counters: opts.Counters, profiles: opts.Profiles, chat: opts.Chat,
			viewer: viewer, language: words, location: opts.Location,
		},
		messages: &messages{conversations: opts.Conversations, chat: opts.Chat, viewer: viewer, language: words},
		contacts: &contacts{contacts: opts.Contacts, profiles: opts.Profiles, defaultAvatar: avatar},
		files:    &files{attachments: opts.Attachments, uploads: limited{opts.Limits.Uploads, metrics.uploadsRefused}, url: opts.PublicURL},
		sockets:  &sockets{live: opts.Live, credentials: opts.Credentials, auth: auth, origins: pages, failures: fails},
		events: &events{
			parser: &eventParser{opts.Publisher}, publisher: opts.Publisher, deliveries: opts.Deliveries,
			language: words, failures: fails, location: opts.Location, unknown: metrics.unknown,
		},
		broadcasts: &broadcasts{broadcasts: opts.Broadcasts, location: opts.Location},
		users: &users{
			profiles: opts.Profiles, credentials: opts.Credentials, eraser: opts.Eraser, attachments: opts.Attachments,
			deliveries: opts.Deliveries, language: words, tokensElsewhere: opts.SignIn != nil,
		},
	}
	a.browsers = &browsers{opts.Browsers, a.registration}
	a.routes()
	a.entrance = &entrance{
		proxies: opts.Proxies, origins: pages, router: a.router.mux,
		preflight: a.router.handler(route{pattern: "preflight", method: http.MethodOptions, usual: http.StatusNoContent, serve: pages.preflight}),
		refuse:    a.router.handler(route{pattern: "refused", method: "any", usual: http.StatusTooManyRequests, serve: tooManyConnections}),
	}
	return a
}
