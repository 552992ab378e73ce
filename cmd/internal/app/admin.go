package app

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kabar-gateway/kabar/cmd/internal/redischeck"
)

// adminHandler serves metrics, health and profiles, which are not public.
func (a *App) adminHandler(reg *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// readyz answers 200 while at least one shard of Redis accepts writes and the process is
// not draining. It names the shards that do not accept writes, and the reasons.
func (a *App) readyz(w http.ResponseWriter, _ *http.Request) {
	if a.draining.Load() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	}
	var faults strings.Builder
	able, away := 0, 0
	shards := a.monitor.Shards()
	for _, s := range shards {
		if s.Err == nil {
			able++
			continue
		}
		reason, meaning := s.Reason()
		fmt.Fprintf(&faults, "%s: %s, %s\n", s.Name, reason, meaning)
		if reason == redischeck.Away {
			away++
		}
	}
	switch {
	case able > 0:
		fmt.Fprintf(w, "ready\n%s", &faults)
	case away == len(shards):
		http.Error(w, "Redis does not answer\n"+faults.String(), http.StatusServiceUnavailable)
	default:
		http.Error(w, "Redis cannot store\n"+faults.String(), http.StatusServiceUnavailable)
	}
}
