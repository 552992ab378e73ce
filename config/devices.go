package config

// Devices limits how many devices are registered and removed, and how long they are kept.
type Devices struct {
	PerUser    int `yaml:"per_user" doc:"how many devices a user may register or replace in any hour, half of them at once, and as many they may remove; 0 to 100000, 0 is no limit"`
	PerAddress int `yaml:"per_address" doc:"the same for all users of one public IP address (of IPv6 the /64), such as the phones behind a carrier's NAT; 0 to 1000000, 0 is no limit"`
	// StaleAfter is 0 for ever.
	StaleAfter Duration `yaml:"stale_after" doc:"how long a device is kept of which nothing was seen: no registration, no request or receipt that names it, no accepted push; 30d to 3650d, 0 keeps it; FCM advises 270d"`
}

func (c Devices) validate(p *problems) {
	p.between("devices.per_user", c.PerUser, 0, 100_000)
	p.between("devices.per_address", c.PerAddress, 0, 1_000_000)
	if c.StaleAfter != 0 {
		p.within("devices.stale_after", c.StaleAfter, 30*day, 3650*day)
	}
}
