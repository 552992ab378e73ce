package attachments

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/attachments/metadata"
	"github.com/kabar-gateway/kabar/inbox/rdb"
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
	// ErrDamaged reports a file whose metadata cannot be removed, because its parts cannot
	// be told apart.
	ErrDamaged = metadata.ErrDamaged
)

// A QuotaError reports that a user's files take so much that one more does not fit.
type QuotaError struct {
	Taken, Quota int64 // bytes
}

// Error says how much is taken and permitted.
func (e *QuotaError) Error() string {
	return fmt.Sprintf("does not fit: your files take %d bytes of %d", e.Taken, e.Quota)
}

// A BucketError is an error of the bucket.
type BucketError struct{ Err error }

// Error returns the bucket's words.
func (e *BucketError) Error() string { return "bucket: " + e.Err.Error() }

// Unwrap returns the bucket's error.
func (e *BucketError) Unwrap() error { return e.Err }

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
	// Batcher and Partitions keep the counter of files and what each user has sent.
	Batcher    *rdb.Batcher
	Partitions *rdb.Partitions
	// Quota is how much the files of a user may take, in bytes; 0 is no limit.
	Quota int64
	// Erased reports whether a user was erased and has not become known again since. It is
	// called concurrently.
	Erased func(ctx context.Context, user int64) (bool, error)
}

// A Store keeps files. It is safe for concurrent use.
type Store struct {
	bucket   *blob.Bucket
	batcher  *rdb.Batcher
	keys     keys
	quota    int64
	erased   func(ctx context.Context, user int64) (bool, error)
	cleaning chan struct{} // holds a value for each file that loses its metadata
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
	return &Store{
		bucket: bucket, batcher: opts.Batcher, keys: keys{opts.Partitions}, quota: opts.Quota, erased: opts.Erased,
		cleaning: make(chan struct{}, cleaners),
	}, nil
}

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

// drop deletes a file, if it exists, and then unlists its path.
func (s *Store) drop(ctx context.Context, user int64, path string) error {
	if err := s.bucket.Delete(ctx, path); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("erase attachment: %w", &BucketError{Err: err})
	}
	if err := s.batcher.Do(ctx, dropScript.Command(ctx, s.keys.both(user), path)); err != nil {
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
		list := rdb.NewCommand(ctx, "zrange", s.keys.files(user), 0, eraseMost-1)
		if err := s.batcher.Do(ctx, list); err != nil {
			return fmt.Errorf("list attachments: %w", err)
		}
		paths, err := list.StringSlice()
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
		return nil, fmt.Errorf("open attachment: %w", &BucketError{Err: err})
	}
	if !isKept(r.ContentType()) { // not stored by Put
		return nil, errors.Join(ErrNotFound, r.Close())
	}
	return &File{ReadSeekCloser: r, Type: r.ContentType(), Size: r.Size(), ModTime: r.ModTime()}, nil
}
