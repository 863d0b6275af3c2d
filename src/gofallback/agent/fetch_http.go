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
)

const (
	// enoughProgress resets the count of attempts: a bad line is not a store that is down.
	enoughProgress = 1 << 20
	connectLimit   = 10 * time.Second
	maxRetryDelay  = 15 * time.Second
	// maxRetryAfter limits the delay that a store may request (Retry-After).
	maxRetryAfter = 60 * time.Second
	maxRedirects  = 5
)

// retryableStatus holds the statuses after which a request may be retried; the same as in publish/retry.py.
var retryableStatus = map[int]bool{408: true, 425: true, 429: true, 500: true, 502: true, 503: true, 504: true}

type storeClient struct {
	request   *FetchRequest
	transport *http.Transport
}

func newStoreClient(request *FetchRequest) (*storeClient, *fetchError) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if request.CA != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM([]byte(request.CA)) {
			return nil, fetchFailure("request", "`ca` names a file without a PEM certificate")
		}
		config.RootCAs = pool
	}
	proxy := http.ProxyFromEnvironment
	if request.Proxy != "" {
		address, err := url.Parse(request.Proxy)
		if err != nil || address.Host == "" {
			return nil, fetchFailure("request", "the proxy is not a URL")
		}
		proxy = http.ProxyURL(address)
	}
	return &storeClient{request, &http.Transport{
		Proxy:               proxy,
		DialContext:         (&net.Dialer{Timeout: connectLimit}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: connectLimit,
		DisableCompression:  true, // compression would change the hashed bytes
		ForceAttemptHTTP2:   true,
	}}, nil
}

// attempt requests the rest of the file and reads until it is complete or the connection fails.
func (c *storeClient) attempt(ctx context.Context, d *download) *fetchError {
	idleCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(c.request.Timeout.Duration(), func() {
		cancel(fetchFailure("down", "no data for %g s", c.request.Timeout))
	})
	defer watch.Stop()
	response, failure := c.open(idleCtx, d)
	if failure != nil {
		return failure
	}
	defer response.Body.Close()
	host := response.Request.URL.Host
	body := &watchedBody{Reader: response.Body, alive: func() { watch.Reset(c.request.Timeout.Duration()) }}
	// One byte more than expected is read, to detect a longer file.
	_, err := io.Copy(d, io.LimitReader(body, d.file.Size-d.done+1))
	switch {
	case d.done > d.file.Size:
		return fetchFailure("wrong", "it is larger than the expected %d bytes", d.file.Size)
	case body.err != nil:
		return c.connectionFailure(idleCtx, host, body.err)
	case err != nil:
		return diskError(err)
	case d.done < d.file.Size && endsByClosing(response):
		return fetchFailure("down", "%s: the connection ended after %d of %d bytes", host, d.done, d.file.Size)
	case d.done < d.file.Size:
		return fetchFailure("wrong", "it has %d bytes, expected %d", d.done, d.file.Size)
	}
	return nil
}

// endsByClosing is true if only the end of the connection marks the end of the body (RFC 9112, 6.3): the body may be
// truncated.
func endsByClosing(response *http.Response) bool {
	return response.ProtoMajor == 1 && response.ContentLength < 0 && len(response.TransferEncoding) == 0
}

// watchedBody reports received bytes, and stores read errors apart from write errors.
type watchedBody struct {
	io.Reader
	alive func()
	err   error
}

func (l *watchedBody) Read(data []byte) (int, error) {
	n, err := l.Reader.Read(data)
	if n > 0 {
		l.alive()
	}
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}

// open sends the request, follows redirects, and returns a body that continues where the file ends.
func (c *storeClient) open(ctx context.Context, d *download) (*http.Response, *fetchError) {
	first, err := url.Parse(d.file.URL)
	if err != nil || (first.Scheme != "http" && first.Scheme != "https") || first.Host == "" {
		return nil, fetchFailure("request", "the file's URL is not an http or https URL")
	}
	at := first
	for hop := 0; hop < maxRedirects; hop++ {
		request := d.newRequest(at, origin(at) == origin(first)).WithContext(ctx)
		response, err := c.transport.RoundTrip(request) // not http.Client: its errors quote URLs with their signatures
		if err != nil {
			return nil, c.connectionFailure(ctx, at.Host, err)
		}
		target := response.Header.Get("Location")
		if response.StatusCode < 300 || response.StatusCode > 399 || target == "" {
			return response, d.accept(response)
		}
		response.Body.Close()
		next, err := at.Parse(target)
		if err != nil || (next.Scheme != "http" && next.Scheme != "https") || next.Host == "" {
			return nil, fetchFailure("store", "%s: %s redirects to an invalid URL", at.Host, statusText(response))
		}
		if at.Scheme == "https" && next.Scheme != "https" {
			return nil, fetchFailure("store", "%s: redirect to %s://%s refused: it leaves TLS", at.Host, next.Scheme, next.Host)
		}
		at = next
	}
	return nil, fetchFailure("store", "%s: %d redirects in a row", first.Host, maxRedirects)
}

// newRequest requests the rest of the file. Only a request to the store itself carries the credentials.
func (d *download) newRequest(at *url.URL, toStore bool) *http.Request {
	request := &http.Request{Method: http.MethodGet, URL: at, Host: at.Host, Header: http.Header{}}
	request.Header.Set("User-Agent", "gofallback-agent")
	request.Header.Set("Accept-Encoding", "identity")
	if toStore {
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
	return request
}

// accept checks the response, and truncates the file if the body begins at byte 0. It closes the body on a failure.
func (d *download) accept(response *http.Response) *fetchError {
	failure := d.checkResponse(response)
	if failure != nil {
		response.Body.Close()
		return failure
	}
	if tag := response.Header.Get("ETag"); !strings.HasPrefix(tag, "W/") { // a weak ETag does not promise the same bytes
		d.etag = tag
	}
	return nil
}

func (d *download) checkResponse(response *http.Response) *fetchError {
	host, status := response.Request.URL.Host, response.StatusCode
	switch {
	case status == http.StatusPartialContent && d.done > 0:
		if !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.done)) {
			return fetchFailure("store", "%s: sent another range than requested", host)
		}
		d.resumed = true
		return nil
	case status == http.StatusOK:
		if response.ContentLength > d.file.Size {
			return fetchFailure("wrong", "it has %d bytes, expected %d", response.ContentLength, d.file.Size)
		}
		if d.done > 0 {
			return d.restart()
		}
		return nil
	case status == http.StatusRequestedRangeNotSatisfiable && d.done > 0:
		if failure := d.restart(); failure != nil {
			return failure
		}
		return fetchFailure("down", "%s: %s", host, statusText(response))
	case retryableStatus[status]:
		failure := fetchFailure("down", "%s: %s", host, statusText(response))
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
			failure.after = min(time.Duration(seconds)*time.Second, maxRetryAfter)
		}
		return failure
	case status == 401 || status == 403:
		return fetchFailure("refused", "%s: %s", host, statusText(response))
	case status == 404 || status == 410:
		return fetchFailure("absent", "%s: %s", host, statusText(response))
	}
	return fetchFailure("store", "%s: %s", host, statusText(response))
}

// connectionFailure explains a failed connection without quoting the URL.
func (c *storeClient) connectionFailure(ctx context.Context, host string, err error) *fetchError {
	var cause *fetchError
	if errors.As(context.Cause(ctx), &cause) {
		if cause.kind == "down" {
			return fetchFailure("down", "%s: %s", host, cause.text)
		}
		return cause
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var roots x509.SystemRootsError
	if errors.As(err, &unknown) || errors.As(err, &name) || errors.As(err, &invalid) || errors.As(err, &roots) {
		return fetchFailure("tls", "%s: %v", host, err)
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return fetchFailure("down", "%s: no answer in time", host)
	}
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	return fetchFailure("down", "%s: %v", host, err)
}

func statusText(response *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode)))
}

// origin is scheme, host and port, the scope of a credential (RFC 6454, 4).
func origin(address *url.URL) string {
	port := address.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[address.Scheme]
	}
	return address.Scheme + "://" + strings.ToLower(address.Hostname()) + ":" + port
}

// retryDelay doubles from half a second, with random jitter: many targets request from the same store.
func retryDelay(attempt int, requested time.Duration) time.Duration {
	wait := min(500*time.Millisecond<<min(attempt-1, 6), maxRetryDelay)
	return max(wait+time.Duration(rand.Int63n(int64(wait)/2)), requested)
}
