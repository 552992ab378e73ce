package config

// The values of android.style.
const (
	AndroidNotification = "notification"
	AndroidData         = "data"
)

// Android configures what Android phones get, whichever app they have.
type Android struct {
	Style string `yaml:"style" doc:"who draws pushes: the system (notification), or the app, which gets data alone (data); a device may say otherwise when it registers"`
}

func (c Android) validate(p *problems) {
	p.oneOf("android.style", c.Style, AndroidNotification, AndroidData)
}
