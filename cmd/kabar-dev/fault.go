package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// listFaults is the value of --fault that prints all faults.
const listFaults = "list"

// A faultFlag is a value of --fault: [fcm:|apns:]NAME[=SHARE|=TIMESx].
type faultFlag struct {
	name    string
	options sandbox.FaultOptions
}

func (f faultFlag) lists() bool { return f.name == listFaults }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *faultFlag) UnmarshalText(text []byte) error {
	*f = faultFlag{}
	name, limit, limited := strings.Cut(string(text), "=")
	if service, rest, ok := strings.Cut(name, ":"); ok {
		f.options.Service, name = service, rest
	}
	if f.name = name; f.lists() {
		return nil
	}
	fault, err := sandbox.FindFault(name)
	if err != nil {
		return fmt.Errorf("%w; did you mean %s? The faults are %s", err, nearestFault(name), strings.Join(faultNames(), ", "))
	}
	if limited {
		if err := f.limit(limit); err != nil {
			return err
		}
	}
	return fault.Check(f.options)
}

// limit reads what follows the equals sign: 0.3 for a share of the devices, 2x for a number
// of times.
func (f *faultFlag) limit(text string) error {
	var err error
	if times, ok := strings.CutSuffix(text, "x"); ok {
		f.options.Times, err = strconv.Atoi(times)
		if f.options.Times == 0 {
			err = strconv.ErrRange
		}
	} else {
		f.options.Share, err = strconv.ParseFloat(text, 64)
		if f.options.Share == 0 {
			err = strconv.ErrRange
		}
	}
	if err != nil {
		return fmt.Errorf("%q is neither a share of the devices, such as 0.3, nor a number of times, such as 2x", text)
	}
	return nil
}

func faultNames() []string {
	var names []string
	for _, f := range sandbox.Faults() {
		names = append(names, f.Name)
	}
	return names
}

// nearestFault returns the fault that is spelled most like name.
func nearestFault(name string) string {
	return slices.MinFunc(faultNames(), func(a, b string) int {
		return levenshtein.ComputeDistance(name, a) - levenshtein.ComputeDistance(name, b)
	})
}

// serviceNames are the services as people write them.
var serviceNames = map[string]string{sandbox.PlatformFCM: "FCM", sandbox.PlatformAPNs: "APNs"}

// faultServices names the services that can have a fault.
func faultServices(f sandbox.Fault) string {
	var names []string
	for _, s := range f.Services() {
		names = append(names, serviceNames[s])
	}
	return strings.Join(names, ", ")
}

// printFaults prints all faults.
func printFaults(w io.Writer) error {
	for _, f := range sandbox.Faults() {
		if _, err := fmt.Fprintf(w, "%-26s  %-9s  %s\n", f.Name, faultServices(f), f.Text); err != nil {
			return err
		}
	}
	return nil
}

// describeFaults says which faults the providers have, one a line.
func describeFaults(flags []faultFlag) []string {
	lines := []string{}
	for _, f := range flags {
		line := f.name
		if f.options.Service != "" {
			line += " of " + serviceNames[f.options.Service]
		}
		if n := f.options.Times; n != 0 {
			line += fmt.Sprintf(", %d times", n)
		}
		if f.options.Share != 0 {
			line += fmt.Sprintf(" for %g %% of the devices (%s)", f.options.Share*100, f.chosen())
		}
		lines = append(lines, line)
	}
	return lines
}

// chosen names the demo phones that the fault is for.
func (f *faultFlag) chosen() string {
	fault, _ := sandbox.FindFault(f.name) // UnmarshalText has found it
	services := fault.Services()
	if f.options.Service != "" {
		services = []string{f.options.Service}
	}
	var names []string
	for _, p := range people {
		for _, phone := range p.Phones {
			service := sandbox.PlatformFCM
			if phone.Platform == devices.IOS {
				service = sandbox.PlatformAPNs
			}
			if slices.Contains(services, service) && f.options.Chosen(f.name, phone.Token) {
				names = append(names, phoneName(phone))
			}
		}
	}
	if len(names) == 0 {
		return "none of the demo phones"
	}
	return strings.Join(names, ", ")
}
