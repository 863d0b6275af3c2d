package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	// enoughProgress makes an attempt that broke off count as none: a bad line is no store that is down.
	enoughProgress = 1 << 20
	connectLimit   = 10 * time.Second
	longestPause   = 15 * time.Second
	// mostAsked is how long a store may ask us to wait (Retry-After).
	mostAsked = 60 * time.Second
	mostHops  = 5
)

// passing are the answers after which a request may be made again; the same as in publish/retry.py.
var passing = map[int]bool{408: true, 425: true, 429: true, 500: true, 502: true, 503: true, 504: true}

type storeClient struct {
	request   *Fetch
	transport *http.Transport
}

func newStoreClient(request *Fetch) (*storeClient, *fetchError) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if request.CA != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM([]byte(request.CA)) {
			return nil, cannot("request", "no PEM certificate in what `ca` names")
		}
		config.RootCAs = pool
	}
	proxy := http.ProxyFromEnvironment
	if request.Proxy != "" {
		address, err := url.Parse(request.Proxy)
		if err != nil || address.Host == "" {
			return nil, cannot("request", "the proxy is no address")
		}
		proxy = http.ProxyURL(address)
	}
	return &storeClient{request, &http.Transport{
		Proxy:               proxy,
		DialContext:         (&net.Dialer{Timeout: connectLimit}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: connectLimit,
		DisableCompression:  true, // it would change what is hashed
		ForceAttemptHTTP2:   true,
	}}, nil
}

// attempt reads as much as comes.
func (c *storeClient) attempt(ctx context.Context, d *download) *fetchError {
	silence, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(c.request.Timeout.Duration(), func() {
		cancel(cannot("down", "not a byte for %g s", c.request.Timeout))
	})
	defer watch.Stop()
	response, failure := c.ask(silence, d)
	if failure != nil {
		return failure
	}
	defer response.Body.Close()
	host := response.Request.URL.Host
	body := &living{Reader: response.Body, alive: func() { watch.Reset(c.request.Timeout.Duration()) }}
	// One byte more than it may have: a longer file is another one.
	_, err := io.Copy(d, io.LimitReader(body, d.file.Size-d.done+1))
	switch {
	case d.done > d.file.Size:
		return cannot("wrong", "more than %d bytes there", d.file.Size)
	case body.err != nil:
		return c.broken(silence, host, body.err)
	case err != nil:
		return diskError(err)
	case d.done < d.file.Size && endsByClosing(response):
		return cannot("down", "%s: the connection ended after %d of %d bytes", host, d.done, d.file.Size)
	case d.done < d.file.Size:
		return cannot("wrong", "%d bytes there, %d expected", d.done, d.file.Size)
	}
	return nil
}

// endsByClosing: nothing but the end of the connection says where the body ends (RFC 9112, 6.3), so that it may be cut.
func endsByClosing(response *http.Response) bool {
	return response.ProtoMajor == 1 && response.ContentLength < 0 && len(response.TransferEncoding) == 0
}

// living tells that bytes come, and keeps errors of reading apart from those of writing.
type living struct {
	io.Reader
	alive func()
	err   error
}

func (l *living) Read(data []byte) (int, error) {
	n, err := l.Reader.Read(data)
	if n > 0 {
		l.alive()
	}
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}

// ask makes the request, follows redirects, and returns a body that goes on where the file ends.
func (c *storeClient) ask(ctx context.Context, d *download) (*http.Response, *fetchError) {
	first, err := url.Parse(d.file.URL)
	if err != nil || (first.Scheme != "http" && first.Scheme != "https") || first.Host == "" {
		return nil, cannot("request", "the file's address is none of http or https")
	}
	at := first
	for hop := 0; hop < mostHops; hop++ {
		request := (&http.Request{Method: http.MethodGet, URL: at, Host: at.Host, Header: http.Header{}}).WithContext(ctx)
		request.Header.Set("User-Agent", "gofallback-agent")
		request.Header.Set("Accept-Encoding", "identity")
		if origin(at) == origin(first) { // the token is for the store alone
			for name, value := range d.file.Headers {
				request.Header.Set(name, value)
			}
		}
		if d.done > 0 {
			request.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.done))
			if d.etag != "" {
				request.Header.Set("If-Range", d.etag)
			}
		}
		response, err := c.transport.RoundTrip(request) // no http.Client: its errors quote addresses with their signatures
		if err != nil {
			return nil, c.broken(ctx, at.Host, err)
		}
		target := response.Header.Get("Location")
		if response.StatusCode < 300 || response.StatusCode > 399 || target == "" {
			return response, d.take(response)
		}
		response.Body.Close()
		next, err := at.Parse(target)
		if err != nil || (next.Scheme != "http" && next.Scheme != "https") || next.Host == "" {
			return nil, cannot("store", "%s: %s leads to what is no address", at.Host, said(response))
		}
		if at.Scheme == "https" && next.Scheme != "https" {
			return nil, cannot("store", "%s: redirect to %s://%s refused: it leaves TLS", at.Host, next.Scheme, next.Host)
		}
		at = next
	}
	return nil, cannot("store", "%s: %d redirects one after the other", first.Host, mostHops)
}

// take looks at the status, and sets the file to where the body begins. The body is closed on a failure.
func (d *download) take(response *http.Response) *fetchError {
	failure := d.judge(response)
	if failure != nil {
		response.Body.Close()
		return failure
	}
	if tag := response.Header.Get("ETag"); !strings.HasPrefix(tag, "W/") { // weak ones do not promise the same bytes
		d.etag = tag
	}
	return nil
}

func (d *download) judge(response *http.Response) *fetchError {
	host, status := response.Request.URL.Host, response.StatusCode
	switch {
	case status == http.StatusPartialContent && d.done > 0:
		if !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.done)) {
			return cannot("store", "%s: answers with another part than it was asked for", host)
		}
		d.resumed = true
		return nil
	case status == http.StatusOK:
		if response.ContentLength > d.file.Size {
			return cannot("wrong", "%d bytes there, %d expected", response.ContentLength, d.file.Size)
		}
		if d.done > 0 {
			return d.restart()
		}
		return nil
	case status == http.StatusRequestedRangeNotSatisfiable && d.done > 0:
		if failure := d.restart(); failure != nil {
			return failure
		}
		return cannot("down", "%s: %s", host, said(response))
	case passing[status]:
		failure := cannot("down", "%s: %s", host, said(response))
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
			failure.after = min(time.Duration(seconds)*time.Second, mostAsked)
		}
		return failure
	case status == 401 || status == 403:
		return cannot("refused", "%s: %s", host, said(response))
	case status == 404 || status == 410:
		return cannot("absent", "%s: %s", host, said(response))
	}
	return cannot("store", "%s: %s", host, said(response))
}

// broken says what became of a connection, without the address.
func (c *storeClient) broken(ctx context.Context, host string, err error) *fetchError {
	var cause *fetchError
	if errors.As(context.Cause(ctx), &cause) {
		if cause.kind == "down" {
			return cannot("down", "%s: %s", host, cause.text)
		}
		return cause
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var roots x509.SystemRootsError
	if errors.As(err, &unknown) || errors.As(err, &name) || errors.As(err, &invalid) || errors.As(err, &roots) {
		return cannot("tls", "%s: %v", host, err)
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return cannot("down", "%s: no answer in time", host)
	}
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	return cannot("down", "%s: %v", host, err)
}

func said(response *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode)))
}

// origin is scheme, host and port: what a credential is meant for (RFC 6454, 4).
func origin(address *url.URL) string {
	port := address.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[address.Scheme]
	}
	return address.Scheme + "://" + strings.ToLower(address.Hostname()) + ":" + port
}

// pause doubles from half a second, with some chance in it: many targets ask the same store.
func pause(attempt int, asked time.Duration) time.Duration {
	wait := min(500*time.Millisecond<<min(attempt-1, 6), longestPause)
	return max(wait+time.Duration(rand.Int63n(int64(wait)/2)), asked)
}

// secrets are the parts of the request that no line may hold.
func (f *Fetch) secrets() []string {
	var found []string
	for _, file := range f.Files {
		for _, value := range file.Headers {
			found = append(found, value)
			if _, word, two := strings.Cut(value, " "); two {
				found = append(found, word)
			}
		}
		if _, query, signed := strings.Cut(file.URL, "?"); signed {
			found = append(found, query)
		}
	}
	if proxy, err := url.Parse(f.Proxy); err == nil {
		if password, given := proxy.User.Password(); given {
			found = append(found, password)
		}
	}
	return found
}

func hidden(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

func printable(text string) string {
	return shorten(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text))
}
