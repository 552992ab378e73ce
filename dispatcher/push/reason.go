package push

// A Reason says why a push was not accepted: the provider's own word, such as
// "UNREGISTERED" or "BadDeviceToken", or one of ours in snake_case. There are few: it
// becomes a metric label.
type Reason string

// Our own reasons; senders have some more.
const (
	ReasonOff         Reason = "off"          // no sender is configured for the platform
	ReasonExpired     Reason = "expired"      // it was not sent within its time
	ReasonUnreadable  Reason = "unreadable"   // the entry cannot be read
	ReasonPoison      Reason = "poison"       // its workers died again and again
	ReasonMoved       Reason = "moved"        // the device belongs to somebody else
	ReasonRegistering Reason = "registering"  // the device is being registered anew
	ReasonBusy        Reason = "busy"         // the queue to the provider is full
	ReasonStopping    Reason = "stopping"     // the process stops
	ReasonRedis       Reason = "redis"        // Redis did not answer
	ReasonCircuitOpen Reason = "circuit_open" // the provider refuses our credentials or configuration
	ReasonSlowedDown  Reason = "slowed_down"  // the provider asked to slow down
)
