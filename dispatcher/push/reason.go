package push

// A Reason is why a push was not accepted: the provider's error code, such as
// "UNREGISTERED" or "BadDeviceToken", or one of ours in snake_case. Reasons are metric
// labels, so their number is bounded.
type Reason string

// Our own reasons. Senders have some more.
const (
	ReasonOff         Reason = "off"          // no sender is configured for the platform
	ReasonExpired     Reason = "expired"      // it was not accepted within push.retry_for
	ReasonUnreadable  Reason = "unreadable"   // the entry cannot be read
	ReasonPoison      Reason = "poison"       // too many workers died while they sent it
	ReasonMoved       Reason = "moved"        // the device belongs to another user, or to a newer registration
	ReasonRegistering Reason = "registering"  // the device is being registered anew
	ReasonBusy        Reason = "busy"         // the queue to the provider is full
	ReasonStopping    Reason = "stopping"     // the process is shutting down
	ReasonRedis       Reason = "redis"        // Redis did not answer
	ReasonCircuitOpen Reason = "circuit_open" // the circuit is open
	ReasonSuspect     Reason = "suspect"      // the provider has called the device's token dead once
	ReasonRate        Reason = "rate"         // as many pushes went to the device as the provider allows
	ReasonOthers      Reason = "others"       // evidence that other gateways have seen
	ReasonSlowedDown  Reason = "slowed_down"  // the lane pauses because the provider asked to slow down
)
