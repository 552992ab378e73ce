package config

import "log/slog"

// The values of log.format.
const (
	LogJSON = "json"
	LogText = "text"
)

// Log configures the log of the process.
type Log struct {
	Level  string `yaml:"level" doc:"the least that is logged: debug, info, warn or error"`
	Format string `yaml:"format" doc:"json for machines or text for people"`
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

// SlogLevel returns Level as log/slog has it.
func (c Log) SlogLevel() slog.Level { return logLevels[c.Level] }

func (c Log) validate(p *problems) {
	p.oneOf("log.level", c.Level, "debug", "info", "warn", "error")
	p.oneOf("log.format", c.Format, LogJSON, LogText)
}
