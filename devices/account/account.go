// Package account holds the errors and the validation that the device registry and the
// credential store share. It is a leaf, so that neither of the two imports the other.
package account

import "errors"

// ErrErased says that the user was erased, and has nothing until a service sets them again.
var ErrErased = errors.New("the user was erased")

// InvalidError says which field of the input cannot be accepted, and why.
type InvalidError struct {
	// Field is platform, token, old_token, new_token, model, manufacturer,
	// product_name, app_version, operating_system or user_id.
	Field string
	// Problem continues a sentence that begins with the field's name. It never
	// holds the value.
	Problem string
}

// Error returns the sentence.
func (e *InvalidError) Error() string { return e.Field + " " + e.Problem }

// Validate returns an [*InvalidError] unless user can be a user's id: a positive
// number.
func Validate(user int64) error {
	if user <= 0 {
		return &InvalidError{"user_id", "is not a positive number"}
	}
	return nil
}
