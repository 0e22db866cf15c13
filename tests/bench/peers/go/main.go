// The same as the peer "plain", compiled: net/http and pgx, one plain INSERT a request, nothing shared between requests.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v4/pgxpool"
)

const prefix = "/api/feedback/"

const insert = `
	INSERT INTO feedback (user_id, id, message, created_at, ip_address, metadata)
	SELECT u.id, $2::text::uuid, $3, $4, $5::text::inet, $6::text::jsonb
	FROM users AS u
	WHERE u.username = $1`

type submission struct {
	Message  string          `json:"message"`
	Metadata json.RawMessage `json:"metadata"`
}

type stored struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
}

func newID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

func submit(pool *pgxpool.Pool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		var body submission
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 65536)).Decode(&body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		id, err := newID()
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		now := time.Now().UTC()
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		done, err := pool.Exec(r.Context(), insert,
			strings.TrimPrefix(r.URL.Path, prefix), id, body.Message, now, host, string(body.Metadata))
		if err != nil {
			log.Print(err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if done.RowsAffected() != 1 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		answer, err := json.Marshal(stored{id, now})
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		w.Write(answer)
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	// As many connections as the service has.
	if _, err := fmt.Sscan(os.Getenv("POOL"), &config.MaxConns); err != nil {
		log.Fatal(err)
	}
	config.MinConns = config.MaxConns
	pool, err := pgxpool.ConnectConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listens on http://%s\n", listener.Addr())
	handler := http.NewServeMux()
	handler.HandleFunc(prefix, submit(pool))
	server := &http.Server{Handler: handler}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
