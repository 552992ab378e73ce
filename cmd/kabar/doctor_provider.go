package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/oauth2"

	"github.com/kabar-gateway/kabar/cmd/internal/app"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/dispatcher/apns"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// A finding is the error of a check that knows what to do about it.
type finding struct{ fault, remedy string }

// Error implements error.
func (f *finding) Error() string { return f.fault }

// A prober is a sender that the doctor checks.
type prober interface {
	Probe(ctx context.Context) push.Result
	Warm(ctx context.Context) error
}

func providerChecks(cfg *config.Config) []check {
	var checks []check
	for _, a := range cfg.AllApps() {
		routes := app.Routes(a)
		for _, route := range routes {
			if app.ByFirebase(route) { // the project of Android
				continue
			}
			checks = append(checks, routeCheck(cfg, a, route))
		}
		section := cfg.Section(a.Name)
		off := func(name, why string) {
			checks = append(checks, check{checkName(a, name, ""), func(context.Context) (string, error) { return "off: " + why, nil }, ""})
		}
		if !a.FCM.Enabled() {
			off("fcm", section+"fcm.project_id is not set")
		}
		if !a.APNs.Enabled() {
			off("apns", "neither "+section+"apns.key_file nor "+section+"apns.certificate_file is set")
		}
	}
	return append(checks, webChecks(cfg)...)
}

// webChecks returns the checks of the push services of browsers. They can be asked nothing
// without a subscription but whether they answer.
func webChecks(cfg *config.Config) (checks []check) {
	if !cfg.WebPush.Enabled() {
		return []check{{"webpush", func(context.Context) (string, error) { return "off: webpush.private_key is not set", nil }, ""}}
	}
	for _, service := range cfg.WebPush.Services {
		checks = append(checks, check{"webpush " + service, func(ctx context.Context) (string, error) {
			s, err := app.NewWebPush(cfg, service)
			if err != nil {
				return "", err
			}
			defer s.Close()
			if strings.HasPrefix(service, "*.") {
				return "is tried with the first push: it has many hosts", nil
			}
			return "answers", probe(ctx, s, "https://"+service, "pushes to browsers", nil)
		}, "check webpush.services, and webpush.ca_file"})
	}
	return checks
}

// checkName returns the name of a check: that of the provider, with the app unless it is the
// default one, and with the environment unless it is the one that is tried first.
func checkName(a config.App, provider, environment string) string {
	if a.Name != push.DefaultApp {
		provider += " of " + a.Name
	}
	if environment != "" && environment != a.APNs.Home() {
		provider += ", " + environment
	}
	return provider
}

// routeCheck returns the check of the provider by a route.
func routeCheck(cfg *config.Config, a config.App, route push.Route) check {
	section := cfg.Section(a.Name)
	isFCM := route.Environment == ""
	c := check{checkName(a, "fcm", ""), nil, "check " + section + "fcm.credentials_file"}
	if !isFCM {
		c.name = checkName(a, "apns", route.Environment)
		c.remedy = "check " + section + "apns.key_file, or " + section + "apns.certificate_file and " + section + "apns.certificate_password"
	}
	c.run = func(ctx context.Context) (result string, err error) {
		defer func() {
			if f := (*finding)(nil); errors.As(err, &f) {
				f.remedy = providerKey.ReplaceAllString(f.remedy, section+"$0")
			}
		}()
		s, err := app.NewSender(ctx, cfg, a, route)
		if err != nil {
			return "", err
		}
		defer s.Close()
		if isFCM {
			account := fcmAccount(a.FCM)
			return "a dry run was accepted at " + app.FCMEndpoint(a.FCM) + " for " + account,
				probe(ctx, s, app.FCMEndpoint(a.FCM), account, fcmReasons)
		}
		endpoint, account := app.APNsEndpoint(a.APNs, route.Environment), apnsAccount(a.APNs)
		r := s.Probe(ctx)
		if route.Environment != a.APNs.Home() && ofOtherEnvironment[r.Reason] {
			return "off: the key or certificate is for " + a.APNs.Home() + " alone", nil
		}
		return endpoint + " accepts " + account, explain(ctx, s, r, endpoint, account, apnsReasons)
	}
	return c
}

// providerKey matches the keys of a provider's section in a remedy.
var providerKey = regexp.MustCompile(`\b(fcm|apns)\.(\w+_\w+|topic|environment|endpoint)\b`)

// ofOtherEnvironment are the answers of an environment of APNs for which our key or
// certificate is not.
var ofOtherEnvironment = map[push.Reason]bool{"BadEnvironmentKeyIdInToken": true, "BadCertificateEnvironment": true}

// fcmAccount says as whom we push: the project and the service account.
func fcmAccount(c config.FCM) string {
	account := "project " + c.ProjectID
	if c.CredentialsFile == "" {
		return account + " without credentials"
	}
	var file struct {
		Email   string `json:"client_email"`
		Key     string `json:"private_key_id"`
		Project string `json:"project_id"`
	}
	text, err := os.ReadFile(c.CredentialsFile)
	if err != nil || json.Unmarshal(text, &file) != nil || file.Email == "" {
		return account + " with " + c.CredentialsFile
	}
	account += ", service account " + file.Email
	if file.Key != "" {
		account += ", key " + file.Key
	}
	if file.Project != "" && file.Project != c.ProjectID {
		account += ", which belongs to project " + file.Project
	}
	return account
}

// apnsAccount says as whom we push: the topic and the key or the certificate.
func apnsAccount(c config.APNs) string {
	if c.CertificateFile == "" {
		return fmt.Sprintf("topic %s, team %s, key %s", c.Topic, c.TeamID, c.KeyID)
	}
	account := "topic " + c.Topic + ", certificate " + c.CertificateFile
	loaded, err := apns.LoadCertificate(c.CertificateFile, c.CertificatePassword.Reveal())
	if err != nil || len(loaded.Certificate) == 0 {
		return account
	}
	leaf, err := x509.ParseCertificate(loaded.Certificate[0])
	if err != nil {
		return account
	}
	return fmt.Sprintf("%s (%s, valid until %s)", account, leaf.Subject.CommonName, leaf.NotAfter.Format("2006-01-02"))
}

// probe asks a provider whether it accepts our pushes. If it does not, the error says who
// refused whom, why, and what to do.
func probe(ctx context.Context, p prober, endpoint, account string, reasons map[push.Reason]explanation) error {
	return explain(ctx, p, p.Probe(ctx), endpoint, account, reasons)
}

// explain returns what the answer to a probe means, as probe does.
func explain(ctx context.Context, p prober, r push.Result, endpoint, account string, reasons map[push.Reason]explanation) error {
	if r.Outcome == push.Accepted {
		return nil
	}
	why, ok := reasons[r.Reason]
	if !ok {
		why, ok = unansweredReasons[r.Reason]
	}
	if !ok {
		why = explanation{
			word: r.Reason, meaning: "no answer that the provider documents",
			remedy: "see that the endpoint in the configuration is the provider's, and that no proxy answers in its place",
		}
	}
	if !why.unanswered {
		return &finding{fmt.Sprintf("%s refuses %s: %s, %s", endpoint, account, why.said(r.Reason), why.meaning), why.remedy}
	}
	fault := fmt.Sprintf("%s at %s: %s", account, endpoint, why.meaning)
	if err := firstError(p.Warm(ctx)); err != nil {
		detail, remedy := explainError(err)
		if fault += ": " + detail; remedy != "" {
			why.remedy = remedy
		}
	}
	return &finding{fault, why.remedy}
}

// firstError returns the first of joined errors: those of several connections are alike.
func firstError(err error) error {
	for {
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok || len(joined.Unwrap()) == 0 {
			return err
		}
		err = joined.Unwrap()[0]
	}
}

// explainToken is explainError for an answer of Google's token endpoint.
func explainToken(refused *oauth2.RetrieveError) (detail, remedy string) {
	var body struct {
		Error       string
		Description string `json:"error_description"`
	}
	detail = fmt.Sprint("the token endpoint answers ", refused.Response.StatusCode)
	if json.Unmarshal(refused.Body, &body) != nil || body.Error == "" {
		return detail, ""
	}
	detail = strings.TrimSpace(detail + " " + body.Error + " " + body.Description)
	if why, ok := tokenReasons[body.Error]; ok {
		return detail + ", " + why.meaning, why.remedy
	}
	return detail, ""
}

// explainError returns what went wrong, in one line, and what to do about it if that is more
// than what the reason alone says.
func explainError(err error) (detail, remedy string) {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil {
		return explainToken(refused)
	}
	var name *net.DNSError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		remedy = "see that this machine resolves " + name.Name
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		remedy = "nothing accepts connections there: see the endpoint in the configuration, and firewalls on the way"
	case errors.As(err, &unknown):
		remedy = "the certificate is of an authority that this machine does not trust: install the system's ca-certificates, set ca_file, or find out who intercepts the connection"
	case errors.As(err, &host):
		remedy = "the certificate is for another host: correct the endpoint in the configuration"
	case errors.As(err, &invalid):
		remedy = "the certificate is not valid: see this machine's clock first"
	}
	return strings.ReplaceAll(err.Error(), "\n", " "), remedy
}
