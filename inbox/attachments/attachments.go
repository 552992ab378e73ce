package attachments

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/memblob"  // mem://
	_ "gocloud.dev/blob/s3blob"   // s3://
	"gocloud.dev/gcerrors"
)

// Errors that callers tell apart.
var (
	// ErrType reports a file of a type that is not kept.
	ErrType = errors.New("files of this type are not kept")
	// ErrTooLarge says that a file has more than MaxSize bytes.
	ErrTooLarge = errors.New("the file is too large")
	// ErrNotFound says that there is no such file.
	ErrNotFound = errors.New("there is no such file")
	// ErrErased reports that the user was erased before or during the upload.
	ErrErased = errors.New("the user was erased")
)

// MaxSize is the maximum size of a file, in bytes.
const MaxSize = 10 << 20

const (
	headSize = 3072 // bytes from which the type of a file is detected
	keySize  = 16   // bytes
	folder   = "chat_attachments/"
)

// Options say where a store keeps files.
type Options struct {
	// URL is the address of the bucket.
	URL string
	// Redis holds the counter of files and the set of each user's files; their keys begin
	// with Prefix.
	Redis  redis.UniversalClient
	Prefix string
	// Erased reports whether a user was erased and has not become known again since. It is
	// called concurrently.
	Erased func(ctx context.Context, user int64) (bool, error)
}

// A Store keeps files. It is safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
	redis  redis.UniversalClient
	prefix string
	erased func(ctx context.Context, user int64) (bool, error)
}

// Open opens the bucket. It creates a missing folder; an unreachable S3 is noticed only
// when the first file is stored. Close the store.
func Open(ctx context.Context, opts Options) (*Store, error) {
	address, err := bucketURL(opts.URL)
	if err != nil {
		return nil, err
	}
	bucket, err := blob.OpenBucket(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("open bucket for attachments: %w", err)
	}
	return &Store{bucket: bucket, redis: opts.Redis, prefix: opts.Prefix, erased: opts.Erased}, nil
}

// counter is a string, kept for ever: the id of the newest file.
func (s *Store) counter() string { return s.prefix + ":attachments" }

// files is a set, kept until the user is erased: the paths, in the bucket, of the files
// that the user has sent.
func (s *Store) files(user int64) string {
	return s.counter() + ":" + strconv.FormatInt(user, 10)
}

// times is a sorted set that is kept until the user is erased: the members of files, scored
// with the time in milliseconds at which the user sent each.
func (s *Store) times(user int64) string { return s.files(user) + ":times" }

// bucketURL adds defaults to the address of a folder: create it when missing, and write
// temporary files inside it, because /tmp may be another file system.
func bucketURL(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("open bucket for attachments: not a URL") // the error would repeat a secret in it
	}
	if u.Scheme != "file" {
		return address, nil
	}
	if u.Host != "" && u.Host != "." && u.Host != "localhost" {
		return "", fmt.Errorf("open bucket for attachments: write file://./%s%s for a folder below this one, or file:///… for any", u.Host, u.Path)
	}
	query := u.Query()
	for name, preset := range map[string]string{"create_dir": "true", "no_tmp_dir": "true", "dir_file_mode": strconv.Itoa(0o750)} {
		if !query.Has(name) {
			query.Set(name, preset)
		}
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// Close closes the bucket.
func (s *Store) Close() error {
	if err := s.bucket.Close(); err != nil {
		return fmt.Errorf("close bucket for attachments: %w", err)
	}
	return nil
}

// An Attachment is a stored file.
type Attachment struct {
	ID   int64  // from the counter
	Key  string // 32 random hex digits
	Name string // safe in a URL
	Type string // its media type
	Size int64  // bytes
}

// Put stores a file that a user sends, under a safe form of its name. When it fails,
// nothing is stored; the error is ErrType, ErrTooLarge or ErrErased, or comes from r, the
// bucket or Redis.
func (s *Store) Put(ctx context.Context, user int64, name string, r io.Reader) (Attachment, error) {
	head := make([]byte, headSize)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Attachment{}, fmt.Errorf("read file: %w", err)
	}
	head = head[:n]
	t, ok := detect(head)
	if !ok {
		return Attachment{}, ErrType
	}
	if err := s.refuseErased(ctx, user); err != nil {
		return Attachment{}, err
	}
	id, err := s.redis.Incr(ctx, s.counter()).Result()
	if err != nil {
		return Attachment{}, fmt.Errorf("number attachment: %w", err)
	}
	a := Attachment{ID: id, Key: newKey(), Name: safeName(name, t), Type: t.media}
	// The path is listed before the file is written: Erase finds only listed files.
	if err := s.note(ctx, user, &a); err != nil {
		return Attachment{}, err
	}
	a.Size, err = s.write(ctx, &a, user, io.MultiReader(bytes.NewReader(head), r))
	if err == nil {
		if err = s.confirm(ctx, user, &a); err == nil {
			return a, nil
		}
	}
	// If this fails, too, the path stays listed, and Erase deletes the file with its user.
	return a, errors.Join(err, s.drop(context.WithoutCancel(ctx), user, path(a.Key, a.Name)))
}

// refuseErased returns ErrErased when the user was erased.
func (s *Store) refuseErased(ctx context.Context, user int64) error {
	erased, err := s.erased(ctx, user)
	if err != nil {
		return fmt.Errorf("store attachment: %w", err)
	}
	if erased {
		return ErrErased
	}
	return nil
}

// note lists the path of a file, so that Erase and Expire find the file.
func (s *Store) note(ctx context.Context, user int64, a *Attachment) error {
	pipe := s.redis.Pipeline()
	pipe.SAdd(ctx, s.files(user), path(a.Key, a.Name))
	pipe.ZAdd(ctx, s.times(user), now(path(a.Key, a.Name)))
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("note attachment: %w", err)
	}
	return nil
}

// confirm checks again, after the file was written, whether its user was erased meanwhile.
// An Erase that ran before the write may have unlisted the path without finding a file to
// delete, so the path is listed again first: an Erase that begins later finds it.
func (s *Store) confirm(ctx context.Context, user int64, a *Attachment) error {
	if err := s.note(ctx, user, a); err != nil {
		return err
	}
	return s.refuseErased(ctx, user)
}

// drop deletes a file, if it exists, and then unlists its path.
func (s *Store) drop(ctx context.Context, user int64, path string) error {
	if err := s.bucket.Delete(ctx, path); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("erase attachment: %w", err)
	}
	pipe := s.redis.Pipeline()
	pipe.ZRem(ctx, s.times(user), path)
	pipe.SRem(ctx, s.files(user), path)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("erase attachment: %w", err)
	}
	return nil
}

// eraseMost is how many files Erase lists in one round trip.
const eraseMost = 100

// Erase deletes the files that a user has sent. A concurrent Put keeps no file, provided
// that Options.Erased reports the user before Erase begins. Erase may be repeated; its
// errors come from the bucket or Redis.
func (s *Store) Erase(ctx context.Context, user int64) error {
	for {
		paths, err := s.redis.SRandMemberN(ctx, s.files(user), eraseMost).Result()
		if err != nil {
			return fmt.Errorf("list attachments: %w", err)
		}
		if len(paths) == 0 {
			return nil
		}
		for _, p := range paths {
			if err := s.drop(ctx, user, p); err != nil {
				return err
			}
		}
	}
}

// write stores a file whole or not at all.
func (s *Store) write(ctx context.Context, a *Attachment, user int64, r io.Reader) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.bucket.NewWriter(ctx, path(a.Key, a.Name), &blob.WriterOptions{
		ContentType: a.Type,
		Metadata:    map[string]string{"user": strconv.FormatInt(user, 10), "id": strconv.FormatInt(a.ID, 10)},
	})
	if err != nil {
		return 0, fmt.Errorf("store attachment: %w", err)
	}
	size, err := io.Copy(w, io.LimitReader(r, MaxSize+1))
	if err == nil && size > MaxSize {
		err = ErrTooLarge
	}
	if err != nil {
		cancel() // before Close, which then discards the file
	}
	closeErr := w.Close()
	switch {
	case errors.Is(err, ErrTooLarge):
		return 0, err
	case err != nil:
		return 0, fmt.Errorf("store attachment: %w", err)
	case closeErr != nil:
		return 0, fmt.Errorf("store attachment: %w", closeErr)
	}
	return size, nil
}

func newKey() string {
	var key [keySize]byte
	rand.Read(key[:]) // never fails
	return hex.EncodeToString(key[:])
}

func path(key, name string) string { return folder + key + "/" + name }

// A File is an open file. Close it.
type File struct {
	io.ReadSeekCloser
	Type    string // its media type, one of those that are kept
	Size    int64  // bytes
	ModTime time.Time
}

// Get opens a file by its key and its name. The error is ErrNotFound or the
// bucket's. Reading fails once ctx has ended.
func (s *Store) Get(ctx context.Context, key, name string) (*File, error) {
	if raw, err := hex.DecodeString(key); err != nil || len(raw) != keySize || !isSafe(name) {
		return nil, ErrNotFound
	}
	r, err := s.bucket.NewReader(ctx, path(key, name), nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("open attachment: %w", err)
	}
	if !isKept(r.ContentType()) { // not stored by Put
		return nil, errors.Join(ErrNotFound, r.Close())
	}
	return &File{ReadSeekCloser: r, Type: r.ContentType(), Size: r.Size(), ModTime: r.ModTime()}, nil
}
