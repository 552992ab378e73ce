package edge

import "testing"

func TestAllows(t *testing.T) {
	o := NewOrigins([]string{"https://shop.example", "https://*.shop.example", "http://*.test.example:8080", "capacitor://localhost"})
	for origin, want := range map[string]bool{
		"https://shop.example":                         true,
		"https://m.shop.example":                       true,
		"https://a.b.shop.example":                     true,
		"http://dev.test.example:8080":                 true,
		"capacitor://localhost":                        true,
		"":                                             false,
		"null":                                         false,
		"*":                                            false,
		"http://shop.example":                          false,
		"https://shop.example:8443":                    false,
		"https://shop.example.evil.example":            false,
		"https://evilshop.example":                     false,
		"https://.shop.example":                        false,
		"https://a..shop.example":                      false,
		"https://evil.example/.shop.example":           false,
		"https://evil.example#.shop.example":           false,
		"https://evil.example:1.shop.example":          false,
		"https://a@b.shop.example":                     false,
		"https://M.shop.example":                       false, // browsers send lower case
		"http://test.example:8080":                     false,
		"http://dev.test.example":                      false,
		"https://m.shop.example, https://evil.example": false,
	} {
		if got := o.Allows(origin); got != want {
			t.Errorf("%q: %v, want %v", origin, got, want)
		}
	}
	var none Origins
	if none.Any() || none.Allows("") || none.Allows("https://shop.example") || !o.Any() || NewOrigins(nil).Any() {
		t.Error("no origins must allow nothing")
	}
}
