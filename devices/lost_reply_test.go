package devices

import "testing"

// Every write may be repeated after a lost reply.
func TestLostReplies(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		ctx := t.Context()
		r := New(Options{Redis: s.Client, Batcher: s.LoseReplies(t), Partitions: s.Partitions, MaxPerUser: 2})
		register(t, r, budi, phone("A"))
		stream := s.stream(ani)
		_, err := r.Register(ctx, ani, phone("A"), func(d Device) (string, string, string) { return stream, "device", d.ID })
		check(t, err)
		if n := s.Client.XLen(ctx, stream).Val(); n != 1 {
			t.Errorf("announced %d times", n)
		}
		prefer(t, r, ani, "A", choosy)
		b, err := r.Replace(ctx, ani, "A", Device{Platform: Android, Token: "B"})
		check(t, err)
		check(t, r.Suspend(ctx, ani, b, "MISMATCH"))
		list, err := r.List(ctx, ani)
		check(t, err)
		if len(list) != 1 || list[0].Token != "B" || list[0].Suspended != "MISMATCH" || list[0].Preferences != choosy || !owner(t, r, b).Owns(ani, list[0]) {
			t.Errorf("listed %+v", list)
		}
		if o := owner(t, r, phone("A")); o != (Owner{}) {
			t.Errorf("the replaced token has the owner %+v", o)
		}

		register(t, r, ani, phone("C"))
		register(t, r, ani, phone("D")) // drops B
		check(t, r.Remove(ctx, ani, Android, "C"))
		list, err = r.List(ctx, ani)
		check(t, err)
		if len(list) != 1 || list[0].Token != "D" {
			t.Errorf("listed %+v", list)
		}
		if _, err := r.Forget(ctx, ani, list[0]); err != nil {
			t.Error(err)
		}
		wantList(t, r, ani)
		register(t, r, ani, phone("E"))
		s.Tombstone(t, ani, true)
		check(t, r.Erase(ctx, ani))
		wantList(t, r, ani)
		if o := owner(t, r, phone("E")); o != (Owner{}) {
			t.Errorf("an erased user owns a token: %+v", o)
		}
	})
}
