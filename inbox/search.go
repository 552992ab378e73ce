package inbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	searchChunk = 1000  // postings read in one round trip
	searchMost  = 20000 // postings of the rarest word that are looked at
)

// Search returns the conversations of a user from offset on that have a message
// with all the words of a text, the one with the newest message first. Words may
// stand in any order and case; the last one may be the beginning of a word.
func (s *Store) Search(ctx context.Context, user int64, text string, unread bool, offset, count int) ([]Conversation, error) {
	found, err := s.find(ctx, s.keys(user), text)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	key := s.keys(user).inboxes()
	if unread {
		key = s.keys(user).unreadInboxes()
	}
	ids := make([]string, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	scores, err := s.Redis.ZMScore(ctx, key, ids...).Result()
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	type hit struct {
		id    string
		score float64
	}
	hits := make([]hit, 0, len(ids))
	for i, id := range ids {
		if scores[i] > 0 { // 0: not in the inbox (any more)
			hits = append(hits, hit{id, scores[i]})
		}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), strings.Compare(a.id, b.id))
	})
	page := make([]string, 0, count)
	for _, h := range hits[min(offset, len(hits)):min(offset+count, len(hits))] {
		page = append(page, h.id)
	}
	return s.conversations(ctx, user, page)
}

// find returns the conversations with a message that has all the words. It walks
// the postings of the rarest word, the newest first, and checks the others.
func (s *Store) find(ctx context.Context, k userKeys, text string) (map[string]bool, error) {
	ranges := wordRanges(text)
	if len(ranges) == 0 {
		return nil, nil
	}
	rarest, err := s.rarestFirst(ctx, k, ranges)
	if err != nil || !rarest {
		return nil, err
	}
	found := make(map[string]bool)
	first, others := ranges[0], ranges[1:]
	for at := 0; at < searchMost; at += searchChunk {
		postings, err := s.Redis.ZRevRangeByLex(ctx, k.words(), &redis.ZRangeBy{
			Min: first.min, Max: first.max, Offset: int64(at), Count: searchChunk,
		}).Result()
		if err != nil {
			return nil, fmt.Errorf("search: %w", err)
		}
		if err := s.keepMatching(ctx, k, postings, others, found); err != nil {
			return nil, err
		}
		if len(postings) < searchChunk {
			break
		}
	}
	return found, nil
}

// A wordRange is the range of a word's postings.
type wordRange struct{ min, max, word string } // word is empty for a prefix

func wordRanges(text string) []wordRange {
	words := searchWords(text)
	ranges := make([]wordRange, len(words))
	for i, w := range words {
		ranges[i] = wordRange{min: "[" + w + "\x00", max: "(" + w + "\x01", word: w}
		if i == len(words)-1 {
			ranges[i] = wordRange{min: "[" + w, max: "(" + w + "\xff"}
		}
	}
	return ranges
}

// searchWords is Words in the order of the text: the last one is special.
func searchWords(text string) []string {
	var words []string
	for _, field := range strings.Fields(text) {
		for _, w := range Words(field) {
			if !slices.Contains(words, w) {
				words = append(words, w)
			}
		}
	}
	const most = 10
	return words[:min(len(words), most)]
}

// rarestFirst moves the range with the fewest postings to the front, and reports
// whether every range has any.
func (s *Store) rarestFirst(ctx context.Context, k userKeys, ranges []wordRange) (bool, error) {
	pipe := s.Redis.Pipeline()
	sizes := make([]*redis.IntCmd, len(ranges))
	for i, r := range ranges {
		sizes[i] = pipe.ZLexCount(ctx, k.words(), r.min, r.max)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return false, fmt.Errorf("search: %w", err)
	}
	best := 0
	for i := range ranges {
		if sizes[i].Val() == 0 {
			return false, nil
		}
		if sizes[i].Val() < sizes[best].Val() {
			best = i
		}
	}
	ranges[0], ranges[best] = ranges[best], ranges[0]
	return true, nil
}

// keepMatching adds the conversations of those postings whose message has the
// other words too.
func (s *Store) keepMatching(ctx context.Context, k userKeys, postings []string, others []wordRange, found map[string]bool) error {
	var tails []string // id and conversation
	for _, p := range postings {
		if _, tail, ok := strings.Cut(p, "\x00"); ok && len(tail) == 2*IDLen && !found[tail[IDLen:]] {
			tails = append(tails, tail)
		}
	}
	if len(others) == 0 {
		for _, tail := range tails {
			found[tail[IDLen:]] = true
		}
		return nil
	}
	if len(tails) == 0 {
		return nil
	}
	pipe := s.Redis.Pipeline()
	has := make([][]func() bool, len(tails))
	for i, tail := range tails {
		for _, o := range others {
			has[i] = append(has[i], queueHas(ctx, pipe, k, o, tail))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("search: %w", err)
	}
	for i, tail := range tails {
		all := true
		for _, has := range has[i] {
			all = all && has()
		}
		if all {
			found[tail[IDLen:]] = true
		}
	}
	return nil
}

// queueHas asks whether a message has a word, or one that begins with it.
func queueHas(ctx context.Context, pipe redis.Pipeliner, k userKeys, r wordRange, tail string) func() bool {
	if r.word != "" {
		c := pipe.ZScore(ctx, k.words(), r.word+"\x00"+tail)
		return func() bool { return c.Err() == nil }
	}
	body := pipe.HGet(ctx, k.bodies(), tail[:IDLen])
	return func() bool {
		m, err := parseMessage(tail[:IDLen], body.Val(), false)
		return err == nil && slices.ContainsFunc(Words(m.Body), func(w string) bool {
			return strings.HasPrefix(w, strings.TrimPrefix(r.min, "["))
		})
	}
}
