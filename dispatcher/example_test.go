package dispatcher_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Publish stores an event in the receiver's inbox once, even when it is repeated.
func ExampleDispatcher_Publish() {
	server, err := miniredis.Run() // a Redis for this example
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	partitions := rdb.NewPartitions("example", 16)
	batcher := rdb.NewBatcher(client, 0)
	defer batcher.Close()

	registry := devices.New(devices.Options{Redis: client, Batcher: batcher, Partitions: partitions})
	store := inbox.New(inbox.Options{
		Redis: client, Batcher: batcher, Partitions: partitions, Devices: registry.ListKey,
		Dedupe: 7 * 24 * time.Hour, Keep: 90 * 24 * time.Hour, MaxNotifications: 1000, RetryFor: 24 * time.Hour,
	})
	d := dispatcher.New(dispatcher.Options{
		Redis: client, Partitions: partitions, Inbox: store, Devices: registry,
		Credentials: credentials.New(credentials.Options{Batcher: batcher, Partitions: partitions}),
	}) // Run would deliver the pushes, but publishing does not need it

	ctx := context.Background()
	paid, err := d.Parse([]byte(`{"id":"trx-52001-paid","type":"transaction","receiver_id":66,
		"details":{"transaction":{"id":52001,"state":"paid","seller":{"id":66},"buyer":{"id":15,"name":"Me Ow"}}}}`))
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		for _, p := range d.Publish(ctx, event.ServiceSource("shop"), paid) {
			fmt.Println(p.ID, "duplicate:", p.Duplicate, "error:", p.Err)
		}
	}
	unreads, err := store.Counters.Unreads(ctx, 66)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("orders to deliver:", unreads.SellerTransactions)
	// Output:
	// trx-52001-paid duplicate: false error: <nil>
	// trx-52001-paid duplicate: true error: <nil>
	// orders to deliver: 1
}
