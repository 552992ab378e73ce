package attachments

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

func picture(t *testing.T, encode func(io.Writer, image.Image) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b, image.NewGray(image.Rect(0, 0, 30, 30))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pdf is a file whose bytes are kept as they are.
const pdf = "%PDF-1.7\n"

func pngPicture(t *testing.T) string { return picture(t, png.Encode) }

// onEveryBucket runs a test with a bucket in a folder and with one in memory.
func onEveryBucket(t *testing.T, test func(t *testing.T, s *testStore, folder string)) {
	t.Run("folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "made", "when missing")
		test(t, open(t, "file://"+dir), dir)
	})
	t.Run("memory", func(t *testing.T) { test(t, open(t, "mem://"), "") })
}

// nobody reports that no user is erased.
func nobody(context.Context, int64) (bool, error) { return false, nil }

func open(t *testing.T, url string) *testStore {
	t.Helper()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(localredistest.Options(server.Addr()))
	batcher := rdb.NewBatcher(client, 0)
	prefix := fmt.Sprint(t.Name(), ".", stores.Add(1))
	s, err := Open(t.Context(), Options{URL: url, Batcher: batcher, Partitions: rdb.NewPartitions(prefix, 4), Erased: nobody})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		batcher.Close()
		if err := errors.Join(s.Close(), client.Close()); err != nil {
			t.Error(err)
		}
	})
	return &testStore{s, client}
}

// stores counts the stores: each has keys of its own.
var stores atomic.Int64

// A testStore is a store with the client of its Redis.
type testStore struct {
	*Store
	redis *redis.Client
}

// listed fails the test unless Redis lists as much of a user as there is in the bucket.
func (s *testStore) listed(t *testing.T, user int64, files int, bytes int64) {
	t.Helper()
	n := s.redis.ZCard(t.Context(), s.keys.files(user)).Val()
	total, _ := s.redis.HGet(t.Context(), s.keys.sizes(user), "total").Int64()
	if int(n) != files || total != bytes {
		t.Errorf("%d files of %d bytes are listed, want %d of %d", n, total, files, bytes)
	}
	if left := s.redis.Exists(t.Context(), s.keys.both(user)...).Val(); files == 0 && left != 0 {
		t.Errorf("%d keys are left", left)
	}
}

func read(t *testing.T, s *testStore, a Attachment) (*File, string) {
	t.Helper()
	f, err := s.Get(t.Context(), a.Key, a.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return f, string(content)
}

func TestFilesComeBackAsTheyWere(t *testing.T) {
	onEveryBucket(t, func(t *testing.T, s *testStore, _ string) {
		content := pdf + strings.Repeat("x", 1<<20)
		var keys []string
		for id := int64(1); id <= 3; id++ {
			a, err := s.Put(t.Context(), 66, "struk.png", iotest.HalfReader(strings.NewReader(content[:len(content)/int(id)])))
			if err != nil {
				t.Fatal(err)
			}
			if a.ID != id || a.Name != "struk.pdf" || a.Type != "application/pdf" || a.Size != int64(len(content)/int(id)) || len(a.Key) != 32 {
				t.Errorf("%+v", a)
			}
			f, got := read(t, s, a)
			if got != content[:a.Size] || f.Size != a.Size || f.Type != a.Type || f.ModTime.IsZero() {
				t.Errorf("%d bytes, %+v", len(got), f)
			}
			keys = append(keys, a.Key)
		}
		if slices.Sort(keys); len(slices.Compact(keys)) != 3 {
			t.Errorf("keys %q", keys)
		}
	})
}

func TestTypes(t *testing.T) {
	box := func(brand string) string {
		return "\x00\x00\x00\x20ftyp" + brand + "\x00\x00\x02\x00" + brand + "isomiso2" + strings.Repeat("\x00", 40)
	}
	for name, c := range map[string]struct{ content, want string }{
		"png":             {pngPicture(t), "image/png"},
		"jpeg":            {picture(t, func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) }), "image/jpeg"},
		"gif":             {"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "image/gif"},
		"webp":            {"RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00", "image/webp"},
		"pdf":             {"%PDF-1.7\n", "application/pdf"},
		"mp4":             {box("mp42"), "video/mp4"},
		"voice of iPhone": {box("M4A "), "audio/mp4"},
		"voice in ogg":    {"OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x13OpusHead\x01\x01", "audio/ogg"},
		"mp3":             {"\xff\xfb\x90\x64\x00\x00", "audio/mpeg"},
		"mp3 with a tag":  {"ID3\x03\x00\x00\x00\x00\x00\x0a" + strings.Repeat("\x00", 10) + "\xff\xfb\x90\x64", "audio/mpeg"},
		"aac":             {"\xff\xf1\x50\x80\x00\x1f\xfc", "audio/aac"},

		"nothing":        {"", ""},
		"text":           {"halo", ""},
		"html":           {"<html><script>alert(1)</script>", ""},
		"svg":            {`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`, ""},
		"javascript":     {"#!/usr/bin/env node\nalert(1)", ""},
		"zip":            {"PK\x03\x04\x14\x00\x00\x00\x00\x00", ""},
		"windows":        {"MZ\x90\x00\x03", ""},
		"elf":            {"\x7fELF\x02\x01\x01", ""},
		"flash":          {"CWS\x0a", ""},
		"bmp":            {"BM\x1e\x00\x00\x00", ""},
		"iPhone's photo": {box("heic"), ""},
		"xml":            {`<?xml version="1.0"?><x/>`, ""},
	} {
		got, ok := detect([]byte(c.content))
		if ok != (c.want != "") || got.media != c.want {
			t.Errorf("%s is %q", name, got.media)
		}
	}
}

func TestNothingIsKeptOfWhatFails(t *testing.T) {
	broken := errors.New("broken")
	onEveryBucket(t, func(t *testing.T, s *testStore, dir string) {
		content := pdf
		for name, c := range map[string]struct {
			r    io.Reader
			want error
		}{
			"another type":      {strings.NewReader("halo"), ErrType},
			"too large":         {io.MultiReader(strings.NewReader(content), io.LimitReader(zeros{}, MaxSize)), ErrTooLarge},
			"endless":           {io.MultiReader(strings.NewReader(content), zeros{}), ErrTooLarge},
			"broken half-way":   {io.MultiReader(strings.NewReader(content+strings.Repeat("x", 2*headSize)), iotest.ErrReader(broken)), broken},
			"broken at once":    {iotest.ErrReader(broken), broken},
			"cut off, in form":  {io.MultiReader(strings.NewReader(content+strings.Repeat("x", 2*headSize)), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
			"larger by a byte":  {strings.NewReader(content + strings.Repeat("x", MaxSize+1-len(content))), ErrTooLarge},
			"of another's name": {strings.NewReader("<html>"), ErrType},
		} {
			a, err := s.Put(t.Context(), 66, "a.png", c.r)
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
			if a.Key != "" {
				if _, err := s.Get(t.Context(), a.Key, a.Name); !errors.Is(err, ErrNotFound) {
					t.Errorf("%s: the file can be read, %v", name, err)
				}
			}
		}
		if dir == "" {
			return
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				t.Errorf("%s is left", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A last is the end of a file. It calls the function when it is read.
type last func()

func (l last) Read([]byte) (int, error) {
	l()
	return 0, io.EOF
}

// A user is erased while their file is being uploaded. Whatever the order of events, no
// file of the erased user stays, and every file that stays can be erased by Erase.
func TestErasedDuringAnUpload(t *testing.T) {
	away := errors.New("away")
	for name, c := range map[string]struct {
		before, after bool // whether the user has a tombstone
		fails         error
		want          error
	}{
		"before":                 {before: true, after: true, want: ErrErased},
		"meanwhile":              {after: true, want: ErrErased},
		"nobody can tell":        {fails: away, want: away},
		"and known anew already": {},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			onEveryBucket(t, func(t *testing.T, s *testStore, _ string) {
				erased, fails := c.before, error(nil)
				s.erased = func(context.Context, int64) (bool, error) { return erased, fails }
				_, err := s.Put(t.Context(), 66, "a.png", io.MultiReader(
					strings.NewReader(pdf+strings.Repeat("x", headSize)),
					last(func() {
						erased, fails = c.after, c.fails
						if err := s.Erase(t.Context(), 66); err != nil {
							t.Error(err)
						}
					}),
				))
				if !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if c.want == nil { // the file belongs to the new user
					if n := len(stored(t, s)); n != 1 {
						t.Fatalf("%d files", n)
					}
					if err := s.Erase(t.Context(), 66); err != nil {
						t.Fatal(err)
					}
				}
				if left := stored(t, s); len(left) > 0 {
					t.Errorf("left are %q", left)
				}
				s.listed(t, 66, 0, 0)
			})
		})
	}
}

// stored returns the paths of all files in the bucket.
func stored(t *testing.T, s *testStore) []string {
	t.Helper()
	var paths []string
	for files := s.bucket.List(nil); ; {
		f, err := files.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return paths
		}
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, f.Key)
	}
}

func TestFilesThatAreNotThere(t *testing.T) {
	onEveryBucket(t, func(t *testing.T, s *testStore, dir string) {
		a, err := s.Put(t.Context(), 66, "a.png", strings.NewReader(pngPicture(t)))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ key, name string }{
			{a.Key, "b.png"}, {a.Key, ""}, {a.Key, "a.png.attrs"}, {a.Key, "../" + a.Key + "/a.png"}, {a.Key, "a.html"},
			{"", "a.png"}, {a.Key[1:], "a.png"}, {"../" + a.Key, "a.png"}, {strings.Repeat("0", 32), "a.png"}, {"x", "a.png"},
		} {
			if _, err := s.Get(t.Context(), c.key, c.name); !errors.Is(err, ErrNotFound) {
				t.Errorf("%q/%q: %v", c.key, c.name, err)
			}
		}
		if dir == "" {
			return
		}
		// A file whose attributes somebody else has changed is not served.
		if err := os.WriteFile(filepath.Join(dir, folder, a.Key, "a.png.attrs"), []byte(`{"user.content_type":"text/html"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), a.Key, a.Name); !errors.Is(err, ErrNotFound) {
			t.Errorf("as HTML: %v", err)
		}
	})
}

func TestBuckets(t *testing.T) {
	t.Chdir(t.TempDir())
	s := open(t, "file://./attachments")
	if _, err := s.Put(t.Context(), 66, "a.png", strings.NewReader(pngPicture(t))); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir("attachments/" + folder); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	open(t, "s3://bucket?region=ap-southeast-3&endpoint=http://127.0.0.1:9&use_path_style=true") // makes no request
	for _, bad := range []string{"file://attachments", "file://x/y", "ftp://x", "nonsense", "://", "file:///dev/null/x"} {
		if _, err := Open(context.Background(), Options{URL: bad}); err == nil {
			t.Errorf("%s: opened", bad)
		}
	}
	if _, err := Open(context.Background(), Options{URL: "s3://key:s3cret@bucket\x00"}); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}

// Expire deletes the files that are old enough, of all given users.
func TestExpire(t *testing.T) {
	onEveryBucket(t, func(t *testing.T, s *testStore, _ string) {
		ctx := t.Context()
		put := func(user int64) Attachment {
			a, err := s.Put(ctx, user, "x.png", strings.NewReader(pngPicture(t)))
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		kept := func(a Attachment) bool {
			f, err := s.Get(ctx, a.Key, a.Name)
			if err == nil {
				err = f.Close()
			} else if errors.Is(err, ErrNotFound) {
				return false
			}
			if err != nil {
				t.Fatal(err)
			}
			return true
		}
		expire := func(before time.Time) int {
			n, err := s.Expire(ctx, []int64{66, 15, 7}, before)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		old, fresh, others := put(66), put(66), put(15)
		cut := time.Now().Add(time.Hour)
		if err := s.redis.ZAdd(ctx, s.keys.files(66), redis.Z{Score: float64(cut.UnixMilli()), Member: path(fresh.Key, fresh.Name)}).Err(); err != nil {
			t.Fatal(err)
		}
		if n := expire(time.Now().Add(-time.Hour)); n != 0 || !kept(old) || !kept(others) {
			t.Fatalf("%d files that are not old enough were deleted", n)
		}
		if n := expire(cut); n != 2 || kept(old) || kept(others) || !kept(fresh) {
			t.Errorf("%d deleted; old %v, others' %v, fresh %v", n, kept(old), kept(others), kept(fresh))
		}
		if err := s.Erase(ctx, 66); err != nil {
			t.Fatal(err)
		}
		s.listed(t, 66, 0, 0)
		s.listed(t, 15, 0, 0)
	})
}

// The files of a user take no more than their quota; what goes makes room again.
func TestQuota(t *testing.T) {
	s := open(t, "mem://")
	s.quota = 100
	put := func(user int64, size int) (Attachment, error) {
		return s.Put(t.Context(), user, "a.pdf", strings.NewReader(pdf+strings.Repeat("x", size-len(pdf))))
	}
	first, err := put(66, 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(66, 40); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{20, 200} {
		_, err = put(66, size)
		if q, ok := errors.AsType[*QuotaError](err); !ok || *q != (QuotaError{Taken: 100, Quota: 100}) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	s.listed(t, 66, 2, 100)
	if n := len(stored(t, s)); n != 2 {
		t.Errorf("%d files are stored", n)
	}
	if _, err := put(15, 100); err != nil {
		t.Errorf("another user: %v", err)
	}
	if err := s.drop(t.Context(), 66, path(first.Key, first.Name)); err != nil {
		t.Fatal(err)
	}
	s.listed(t, 66, 1, 40)
	if _, err := put(66, 60); err != nil {
		t.Errorf("after a file has gone: %v", err)
	}
}

// No metadata is stored. A damaged file is refused, since its metadata cannot be removed.
func TestMetadataIsRemoved(t *testing.T) {
	s := open(t, "mem://")
	photo := picture(t, func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) })
	const secret = "6.2088S 106.8456E"
	tagged := photo[:2] + "\xff\xfe\x00" + string(rune(2+len(secret))) + secret + photo[2:]
	a, err := s.Put(t.Context(), 66, "a.jpg", strings.NewReader(tagged))
	if err != nil {
		t.Fatal(err)
	}
	if f, got := read(t, s, a); strings.Contains(got, secret) || got != photo || f.Size != a.Size {
		t.Errorf("%d bytes, with the comment %v", len(got), strings.Contains(got, secret))
	}
	if _, err := s.Put(t.Context(), 66, "a.jpg", strings.NewReader(photo[:20])); !errors.Is(err, ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
	s.listed(t, 66, 1, a.Size)
}

// Check says what a bucket does not let us do.
func TestCheck(t *testing.T) {
	onEveryBucket(t, func(t *testing.T, s *testStore, dir string) {
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := stored(t, s); len(left) > 0 {
			t.Errorf("left are %q", left)
		}
	})
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	away := open(t, "s3://bucket?region=ap-southeast-3&endpoint=http://127.0.0.1:9&use_path_style=true")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, ok := errors.AsType[*BucketError](away.Check(ctx)); !ok {
		t.Errorf("a bucket that is away: %v", away.Check(ctx))
	}
}
