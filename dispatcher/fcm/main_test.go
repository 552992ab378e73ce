package fcm

import (
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestMain(m *testing.M) {
	localredistest.Main(m)
}
