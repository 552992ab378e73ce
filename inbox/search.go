package inbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
)

// searchChunk is how many postings are read in one round trip: few enough that none
// of its commands holds Redis for much longer than a millisecond.
const searchChunk = 500

// maxSearchWords is how many words of a text are searched.
const maxSearchWords = 10

// Search returns the conversations of a user, from offset on, that have a message with
// all the words of a text, the one with the newest message first. The order and case of
// the words do not matter, and the last one may be the beginning of a word.
func (c *Conversations) Search(ctx context.Context, user int64, text string, unread bool, offset, count int) ([]Conversation, error) {
	k := c.keys(user)
	list := k.conversations()
	if unread {
		list = k.unreadConversations()
	}
	hits, err := c.find(ctx, k, list, text)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), strings.Compare(a.id, b.id))
	})
	page := make([]string, 0, count)
	for _, h := range hits[min(offset, len(hits)):min(offset+count, len(hits))] {
		page = append(page, h.id)
	}
	return c.lookUp(ctx, user, page)
}

// A hit is a conversation that was found.
type hit struct {
	id    string
	score float64
}

// find returns the conversations of a list with a message that has all the words.
// It reads the postings of the rarest word, the newest first unless the word is a
// prefix, and checks their messages for the other words. It stops when every
// conversation of the list is found or there are no more postings, so that the cost is
// bounded by the user's own messages.
func (c *Conversations) find(ctx context.Context, k userKeys, list, text string) ([]hit, error) {
	ranges := wordRanges(text)
	if len(ranges) == 0 {
		return nil, nil
	}
	listed, all, err := c.rarestFirst(ctx, k, list, ranges)
	if err != nil || !all {
		return nil, err
	}
	found := make(map[string]bool)
	var hits []hit
	first, others := ranges[0], ranges[1:]
	for int64(len(hits)) < listed {
		postings, err := c.redis.ZRevRangeByLex(ctx, k.words(), &redis.ZRangeBy{
			Min: first.min, Max: first.max, Count: searchChunk,
		}).Result()
		if err != nil {
			return nil, fmt.Errorf("search: %w", err)
		}
		matching, err := c.matching(ctx, k, postings, others, found)
		if err != nil {
			return nil, err
		}
		if hits, err = c.appendListed(ctx, hits, list, matching); err != nil {
			return nil, err
		}
		if len(postings) < searchChunk {
			break
		}
		first.max = "(" + postings[len(postings)-1]
	}
	return hits, nil
}

// appendListed adds the conversations that are in the list. Others were deleted, or have
// nothing unread where unread conversations are searched.
func (c *Conversations) appendListed(ctx context.Context, hits []hit, list string, conversations []string) ([]hit, error) {
	if len(conversations) == 0 {
		return hits, nil
	}
	scores, err := c.redis.ZMScore(ctx, list, conversations...).Result()
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	for i, id := range conversations {
		if scores[i] > 0 { // 0: not in it
			hits = append(hits, hit{id, scores[i]})
		}
	}
	return hits, nil
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

// searchWords returns the words of a text in the order of the text, because the last one
// is special.
func searchWords(text string) []string {
	var words []string
	for _, field := range strings.Fields(text) {
		for _, w := range wordsOf(field) {
			if !slices.Contains(words, w) {
				words = append(words, w)
			}
		}
	}
	return words[:min(len(words), maxSearchWords)]
}

// rarestFirst moves the range with the fewest postings to the front. It returns the
// size of a list of conversations, and whether every range has postings.
func (c *Conversations) rarestFirst(ctx context.Context, k userKeys, list string, ranges []wordRange) (listed int64, all bool, err error) {
	pipe := c.redis.Pipeline()
	size := pipe.ZCard(ctx, list)
	sizes := make([]*redis.IntCmd, len(ranges))
	for i, r := range ranges {
		sizes[i] = pipe.ZLexCount(ctx, k.words(), r.min, r.max)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, false, fmt.Errorf("search: %w", err)
	}
	best := 0
	for i := range ranges {
		if sizes[i].Val() == 0 {
			return size.Val(), false, nil
		}
		if sizes[i].Val() < sizes[best].Val() {
			best = i
		}
	}
	ranges[0], ranges[best] = ranges[best], ranges[0]
	return size.Val(), true, nil
}

// matching returns the conversations of the postings whose message has the other words,
// too. It leaves out conversations that are in found, and adds the new ones to found.
func (c *Conversations) matching(ctx context.Context, k userKeys, postings []string, others []wordRange, found map[string]bool) ([]string, error) {
	var tails []string // id and conversation
	for _, p := range postings {
		if _, tail, ok := strings.Cut(p, "\x00"); ok && len(tail) == 2*model.IDLen && !found[tail[model.IDLen:]] {
			tails = append(tails, tail)
		}
	}
	if len(tails) == 0 {
		return nil, nil
	}
	has := make([]func(i int) bool, len(others))
	if len(others) > 0 {
		pipe := c.redis.Pipeline()
		for i, o := range others {
			has[i] = queueHas(ctx, pipe, k, o, tails)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("search: %w", err)
		}
	}
	var conversations []string
	for i, tail := range tails {
		conversation := tail[model.IDLen:]
		lacks := func(has func(int) bool) bool { return !has(i) }
		if !found[conversation] && !slices.ContainsFunc(has, lacks) {
			found[conversation] = true
			conversations = append(conversations, conversation)
		}
	}
	return conversations, nil
}

// queueHas queues one command that asks which messages have a word, or one that begins with
// it. Once the pipeline was executed, the returned function says whether the i-th message
// of tails does.
func queueHas(ctx context.Context, pipe redis.Pipeliner, k userKeys, r wordRange, tails []string) func(i int) bool {
	if r.word != "" {
		args := []any{"zmscore", k.words()}
		for _, tail := range tails {
			args = append(args, r.word+"\x00"+tail)
		}
		scores := pipe.Do(ctx, args...) // the client's ZMScore returns 0 for members that are missing, and all scores are 0
		return func(i int) bool {
			all, _ := scores.Val().([]any)
			return i < len(all) && all[i] != nil
		}
	}
	ids := make([]string, len(tails))
	for i, tail := range tails {
		ids[i] = tail[:model.IDLen]
	}
	bodies := pipe.HMGet(ctx, k.bodies(), ids...)
	return func(i int) bool {
		body, _ := bodies.Val()[i].(string)
		m, err := parseMessage(ids[i], body, "", false)
		return err == nil && slices.ContainsFunc(wordsOf(m.Body), func(w string) bool {
			return strings.HasPrefix(w, strings.TrimPrefix(r.min, "["))
		})
	}
}
