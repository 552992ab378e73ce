package attachments

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed" // the scripts
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"gocloud.dev/blob"

	"github.com/kabar-gateway/kabar/inbox/attachments/metadata"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed reserve.lua
	reserveLua string
	//go:embed drop.lua
	dropLua string

	reserveScript = rdb.NewScript(reserveLua)
	dropScript    = rdb.NewScript(dropLua)
)

// cleaners is how many files lose their metadata at the same time: a picture that is turned
// takes up to 200 MiB of memory; see [metadata.Strip].
const cleaners = 2

// An Attachment is a stored file.
type Attachment struct {
	ID   int64  // from the counter
	Key  string // 32 random hex digits
	Name string // safe in a URL
	Type string // its media type
	Size int64  // bytes
}

// Put stores a file that a user sends, under a safe form of its name and without its
// metadata. It spools the file in the folder for temporary files, so that a slow upload
// takes no memory. When Put fails, nothing is stored; the error is ErrType, ErrTooLarge,
// ErrDamaged, ErrErased or a [*QuotaError], or comes from r, the bucket or Redis.
func (s *Store) Put(ctx context.Context, user int64, name string, r io.Reader) (Attachment, error) {
	head := make([]byte, headSize)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Attachment{}, fmt.Errorf("read file: %w", err)
	}
	t, ok := detect(head[:n])
	if !ok {
		return Attachment{}, ErrType
	}
	if err := s.refuseErased(ctx, user); err != nil {
		return Attachment{}, err
	}
	spooled, err := spool(io.MultiReader(bytes.NewReader(head[:n]), r))
	if err != nil {
		return Attachment{}, err
	}
	defer spooled.Close()
	content, err := s.clean(ctx, t, spooled)
	if err != nil {
		return Attachment{}, err
	}
	return s.keep(ctx, user, name, t, content)
}

// spool writes a file to a temporary one, which goes when it is closed.
func spool(r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp("", "kabar-upload-*")
	if err != nil {
		return nil, fmt.Errorf("spool file: %w", err)
	}
	size, err := io.Copy(f, io.LimitReader(r, MaxSize+1))
	if err == nil && size > MaxSize {
		err = ErrTooLarge
	}
	// The system keeps the content until the file is closed.
	if err := errors.Join(err, os.Remove(f.Name())); err != nil {
		f.Close()
		return nil, fmt.Errorf("spool file: %w", err)
	}
	return f, nil
}

// clean returns a file without its metadata.
func (s *Store) clean(ctx context.Context, t fileType, f *os.File) ([]byte, error) {
	select {
	case s.cleaning <- struct{}{}:
		defer func() { <-s.cleaning }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read spooled file: %w", err)
	}
	content, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read spooled file: %w", err)
	}
	return metadata.Strip(t.media, content)
}

// keep stores a file. It lists the path before it writes the file: Erase finds only listed
// files.
func (s *Store) keep(ctx context.Context, user int64, name string, t fileType, content []byte) (Attachment, error) {
	number := rdb.NewCommand(ctx, "incr", s.keys.counter())
	if err := s.batcher.Do(ctx, number); err != nil {
		return Attachment{}, fmt.Errorf("number attachment: %w", err)
	}
	id, err := number.Int64()
	if err != nil {
		return Attachment{}, fmt.Errorf("number attachment: %w", err)
	}
	a := Attachment{ID: id, Key: newKey(), Name: safeName(name, t), Type: t.media, Size: int64(len(content))}
	if err := s.reserve(ctx, user, &a, s.quota); err != nil {
		return Attachment{}, err
	}
	if err = s.write(ctx, &a, user, content); err == nil {
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

// reserve lists the path of a file, so that Erase and Expire find the file, and takes its
// size from the user's quota.
func (s *Store) reserve(ctx context.Context, user int64, a *Attachment, quota int64) error {
	c := reserveScript.Command(ctx, s.keys.both(user), path(a.Key, a.Name), a.Size, quota)
	if err := s.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("list attachment: %w", err)
	}
	taken, err := c.Int64()
	if err != nil {
		return fmt.Errorf("list attachment: %w", err)
	}
	if taken > 0 {
		return &QuotaError{Taken: taken, Quota: quota}
	}
	return nil
}

// confirm checks again, after the file was written, whether its user was erased meanwhile.
// An Erase that ran before the write may have unlisted the path without finding a file to
// delete, so the path is listed again first: an Erase that begins later finds it.
func (s *Store) confirm(ctx context.Context, user int64, a *Attachment) error {
	if err := s.reserve(ctx, user, a, 0); err != nil {
		return err
	}
	return s.refuseErased(ctx, user)
}

// write stores a file whole or not at all.
func (s *Store) write(ctx context.Context, a *Attachment, user int64, content []byte) error {
	err := s.bucket.WriteAll(ctx, path(a.Key, a.Name), content, &blob.WriterOptions{
		ContentType: a.Type,
		Metadata:    map[string]string{"user": strconv.FormatInt(user, 10), "id": strconv.FormatInt(a.ID, 10)},
	})
	if err != nil {
		return fmt.Errorf("store attachment: %w", &BucketError{Err: err})
	}
	return nil
}

func newKey() string {
	var key [keySize]byte
	rand.Read(key[:]) // never fails
	return hex.EncodeToString(key[:])
}

func path(key, name string) string { return folder + key + "/" + name }

// Check writes a small file, reads it and deletes it. The error is a [*BucketError].
func (s *Store) Check(ctx context.Context) error {
	const content = "kabar doctor"
	name := path(newKey(), "doctor.txt")
	if err := s.bucket.WriteAll(ctx, name, []byte(content), &blob.WriterOptions{ContentType: "text/plain"}); err != nil {
		return fmt.Errorf("write: %w", &BucketError{Err: err})
	}
	got, err := s.bucket.ReadAll(ctx, name)
	if err == nil && string(got) != content {
		err = errors.New("another content came back")
	}
	if err != nil {
		err = fmt.Errorf("read: %w", &BucketError{Err: err})
	}
	if deleted := s.bucket.Delete(context.WithoutCancel(ctx), name); deleted != nil {
		err = errors.Join(err, fmt.Errorf("delete: %w", &BucketError{Err: deleted}))
	}
	return err
}
