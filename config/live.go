package config

import "time"

// Live limits what one websocket may cost.
type Live struct {
	Frames        int      `yaml:"frames" doc:"how many frames a socket may send in a second, three times as many at once; 1 to 1000"`
	ControlFrames int      `yaml:"control_frames" doc:"how many pings, pongs and continuations of fragmented frames a socket may send in a second, three times as many at once; 1 to 1000"`
	Typing        Duration `yaml:"typing" doc:"how long a partner is not told again that the same user is typing, through whatever sockets and gateways; 100ms to 1m"`
}

func (c Live) validate(p *problems) {
	p.between("live.frames", c.Frames, 1, 1000)
	p.between("live.control_frames", c.ControlFrames, 1, 1000)
	p.within("live.typing", c.Typing, Duration(100*time.Millisecond), Duration(time.Minute))
}
