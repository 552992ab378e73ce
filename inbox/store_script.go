package inbox

import (
	_ "embed"
	"regexp"
	"strconv"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed store_notification.lua
var storeNotificationSource string

//go:embed store_each.lua
var storeEachSource string

// storeArguments is how many values of ARGV an event has, besides the time of a test.
const storeArguments = 18

var constant = regexp.MustCompile(`\b[A-Z][A-Z_]+\b`)

// newStoreScript returns the script that consists of store_notification.lua and end, which
// calls store_event or store_notification.
func (b *base) newStoreScript(end string) *rdb.Script {
	return script(b.withConstants(storeNotificationSource) +
		"local function store_notification() return store_event(KEYS[1], KEYS[2], 1) end\n" + b.withConstants(end))
}

// withConstants writes the constants of store_notification.lua into its text: they would
// cost Redis more as arguments.
func (b *base) withConstants(source string) string {
	constants := b.storeConstants()
	return constant.ReplaceAllStringFunc(source, func(name string) string {
		if value, ok := constants[name]; ok {
			return value
		}
		return name
	})
}

// storeConstants returns the constants by name, as Lua writes them.
func (b *base) storeConstants() map[string]string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	arguments := storeArguments
	if b.testClock {
		arguments++
	}
	return map[string]string{
		"ARGUMENTS":     strconv.Itoa(arguments),
		"NOTIFICATIONS": quote(notificationsKey), "KEPT_BODIES": quote(keptBodiesKey), "UNREAD": quote(unreadKey), "COUNTED": quote(countedKey),
		"REPLAY_LOG": quote(replayLogKey), "CHANNEL": quote(channelKey), "META": quote(metaKey),
		"RECORD": quote(recordKey), "RECORD_INDEX": quote(recordIndexKey),
		"CONTACTS": quote(contactsKey), "RECENT_CONTACTS": quote(recentContactsKey), "USERS": quote(rdb.UsersName),
		"RECORD_TTL":        number(b.recordTTL().Milliseconds()),
		"LIST_TTL":          number((b.options.Keep + expiryRenewInterval).Milliseconds()),
		"KEEP":              number(b.options.Keep.Microseconds()),
		"MAX_NOTIFICATIONS": number(int64(b.options.MaxNotifications)),
		"REFER_FOR":         number(min(b.options.RetryFor, b.options.Keep).Milliseconds()),
		"LISTED_BODY":       quote(ListedBody),
		"LOG_TTL":           number(replayLogTTL.Milliseconds()),
		"LOG_FRAMES":        number(replayFrames),
		"DAY":               number(expiryRenewInterval.Microseconds()),
		"MAX_CONTACTS":      number(maxContacts),
		"PUBLISH_COMMAND":   quote(b.publish),
	}
}

// quote returns a word as a string of Lua.
func quote(word string) string { return "'" + word + "'" }
