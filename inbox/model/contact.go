package model

// The roles of a contact in a transaction.
const (
	Seller = "seller"
	Buyer  = "buyer"
)

// A Contact is somebody with whom a user has had a transaction.
type Contact struct {
	Role        string // of the contact: Seller or Buyer
	Partner     int64
	Transaction string // its id; "" in a list of contacts
	Name        string // as in the transaction; or ""
	Avatar      string // URL, as in the transaction; or ""
	Items       []string
}
