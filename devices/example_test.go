package devices_test

import (
	"context"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A device token belongs to the user who registered it last.
func ExampleRegistry_Register() {
	server, err := miniredis.Run() // a Redis for this example
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	batcher := rdb.NewBatcher(client, 0)
	defer batcher.Close()
	registry := devices.New(devices.Options{Redis: client, Batcher: batcher, Partitions: rdb.NewPartitions("example", 16)})

	ctx := context.Background()
	phone := devices.Device{Platform: devices.Android, Token: "ASD223SDA", Model: "GG-P4124H"}
	for _, user := range []int64{66, 15} { // the second user signs in on the same phone
		if _, err := registry.Register(ctx, user, phone, nil); err != nil {
			log.Fatal(err)
		}
	}
	owners, err := registry.Owners(ctx, []devices.Device{phone})
	if err != nil {
		log.Fatal(err)
	}
	former, err := registry.List(ctx, 66)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("owner:", owners[0].User)
	fmt.Println("devices of the former owner:", len(former))
	// Output:
	// owner: 15
	// devices of the former owner: 0
}
