package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

//go:embed page
var pageFiles embed.FS

// The users who chat on the page.
const (
	buyerID  = 15
	sellerID = 66
)

const (
	pageHeaderTimeout = 5 * time.Second
	publishTimeout    = 10 * time.Second
	maxAnswer         = 1 << 20 // bytes of the gateway's answer to a sample
	maxKey            = 1 << 10 // bytes of a VAPID public key

	// pagePolicy restricts the page to its own files and server, and the pictures of pushes,
	// so that nothing in a message can run.
	pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' https:; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// A page serves the playground's page: its files, the pushes of the board, and the
// samples, published with the demo key. It proxies /v2/ to the gateway, which refuses
// sockets of another Origin than its own.
type page struct {
	board   *board
	faults  []string // of the fake providers
	gateway *url.URL
	// subscribe subscribes a browser at the sandbox's push service.
	subscribe func(name, publicKey string) (sandbox.Subscription, error)

	listener  net.Listener
	server    *http.Server
	transport *http.Transport // to the gateway
	cancel    context.CancelFunc
	requests  sync.WaitGroup // including sockets, which the server does not wait for
	serving   bool
	served    chan struct{} // closed when the server has ended
}

// openPage binds the address of a page that shows a board and names the faults. Close the page, even if it was never served.
func openPage(address string, b *board, faults []string) (*page, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve the page: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &page{board: b, faults: faults, listener: l, transport: &http.Transport{}, cancel: cancel, served: make(chan struct{})}
	p.server = &http.Server{
		ReadHeaderTimeout: pageHeaderTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ErrorLog: log.New(io.Discard, "", 0), // browsers that disconnect are not worth logging
	}
	return p, nil
}

// connKey finds a request's connection in its context.
type connKey struct{}

// serve starts to serve the page in front of the gateway at host:port, which may start
// later. It calls fail when the server fails.
func (p *page) serve(gateway string, fail func(error)) {
	p.gateway = &url.URL{Scheme: "http", Host: gateway}
	p.server.Handler = p.handler()
	p.serving = true
	go func() {
		defer close(p.served)
		if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
			fail(fmt.Errorf("serve the page: %w", err))
		}
	}()
}

// close ends the server and all that it serves.
func (p *page) close() error {
	p.cancel()
	if !p.serving {
		return p.listener.Close()
	}
	err := p.server.Close()
	<-p.served
	p.requests.Wait()
	p.transport.CloseIdleConnections()
	return err
}

func (p *page) handler() http.Handler {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("GET /setup.json", p.setup)
	mux.HandleFunc("GET /pushes", p.pushes)
	mux.HandleFunc("POST /publish/{sample}", p.publish)
	mux.HandleFunc("POST /browser", p.addBrowser)
	mux.Handle("/v2/", p.proxy())
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		defer p.requests.Done()
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		guarded.ServeHTTP(w, r)
	})
}

// proxy forwards requests and sockets to the gateway. Sockets last until both ends, or the
// page, have closed. It keeps the Host header, which the gateway compares with Origin.
func (p *page) proxy() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(p.gateway)
			r.Out.Host = r.In.Host
		},
		Transport: p.transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "the gateway does not answer", http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := r.Context().Value(connKey{}).(net.Conn)
		stop := context.AfterFunc(r.Context(), func() { conn.Close() })
		defer stop()
		proxy.ServeHTTP(w, r)
	})
}

// A player is a user on the page, with the token to sign in with.
type player struct {
	ID     int64       `json:"id"`
	Name   string      `json:"name"`
	Token  string      `json:"token"`
	Phones []phoneView `json:"phones"`
}

// setup tells the page its users, samples and faults.
func (p *page) setup(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(struct {
		Buyer   player   `json:"buyer"`
		Seller  player   `json:"seller"`
		Samples []string `json:"samples"`
		Faults  []string `json:"faults"`
	}{playerOf(buyerID), playerOf(sellerID), sampleNames(), p.faults})
	if err != nil {
		panic(err) // plain strings always marshal
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(body)
}

func playerOf(id int64) player {
	i := slices.IndexFunc(people, func(p person) bool { return p.ID == id })
	p := player{ID: id, Name: people[i].Name, Token: people[i].Token}
	for _, phone := range people[i].Phones {
		p.Phones = append(p.Phones, viewPhone(phone))
	}
	return p
}

// sampleNames returns the names of the samples, without their folder and ending.
func sampleNames() []string {
	names, err := fs.Glob(samples, "samples/*.json")
	if err != nil {
		panic(err) // the pattern is well-formed
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(path.Base(name), ".json")
	}
	return names
}

// pushes streams the board as server-sent events, beginning after the last one that the
// browser has.
func (p *page) pushes(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.Atoi(r.Header.Get("Last-Event-ID")) // 0, for all, without the header
	kept, follow, leave := p.board.watch(after)
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w).Flush
	for _, n := range kept {
		writeEvent(w, n)
	}
	for flush() == nil {
		select {
		case n, ok := <-follow:
			if !ok {
				return
			}
			writeEvent(w, n)
		case <-r.Context().Done():
			return
		}
	}
}

// writeEvent writes a notice. An error shows at the next flush.
func writeEvent(w io.Writer, n notice) {
	fmt.Fprintf(w, "id: %d\ndata: %s\n\n", n.number, n.view)
}

// addBrowser subscribes a browser with the key in the body, and answers with what
// PushManager.subscribe would return.
func (p *page) addBrowser(w http.ResponseWriter, r *http.Request) {
	key, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKey))
	if err == nil {
		var s sandbox.Subscription
		if s, err = p.subscribe("browser-"+rand.Text(), string(key)); err == nil {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			err = json.MarshalWrite(w, s)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// publish publishes a sample as the demo service, whose key the page does not have,
// and answers as the gateway does.
func (p *page) publish(w http.ResponseWriter, r *http.Request) {
	event, err := sample(r.PathValue("sample"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), publishTimeout)
	defer cancel()
	status, body, err := p.send(ctx, event)
	if err != nil {
		http.Error(w, "the gateway does not answer", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}

func (p *page) send(ctx context.Context, event string) (status int, body []byte, err error) {
	events := p.gateway.JoinPath("/v2/events.json").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, events, bytes.NewBufferString(event))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+demoKey)
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}
