//! The calls of vectors that a gateway answers.

use std::num::NonZeroU32;

use serde_json::{Value, json};
use slotwise::{Config, Endpoint, EndpointId, Instant, RequestId, Role, Scheduler};
use slotwise_gateway::engines::FeedError;
use slotwise_gateway::{Exchange, Gateway, Lease};
use slotwise_wire::exposition::Exposition;
use slotwise_wire::headers::{Allow, RequestHeaders};
use slotwise_wire::kv::Report;
use slotwise_wire::metrics::OrcaReport;
use slotwise_wire::outcome::BodyShape;
use slotwise_wire::request::{Api, PriorityOrder, RequestReader};

use crate::calls::{bytes, close, plain, read_metrics, reader, said, small, text};
use crate::exchanges;

/// A gateway, as a host would write it.
pub(crate) struct Host {
    gateway: Gateway,
    endpoints: Vec<EndpointId>,
    leases: Vec<Lease>,
    exchange: Exchange,
    requests: RequestReader,
}

impl Host {
    pub(crate) fn answer(&mut self, call: &str, args: &Value) -> Option<Value> {
        let now = Instant::from_micros(args["at_us"].as_u64().unwrap_or(0));
        Some(match call {
            "disaggregate" => {
                let config: Config = serde_json::from_value(args["config"].clone()).expect("valid");
                *self = Self::of(Scheduler::new(config).expect("valid"));
                Value::Null
            }
            "add_endpoint" => self.add_endpoint(now, args),
            "handle_metrics_page" => self.handle_metrics_page(now, args),
            "handle_orca" => {
                let report = OrcaReport::read(&bytes(&args["header"]));
                let endpoint = self.endpoint(args);
                self.gateway.handle_orca(now, endpoint, &report).expect("known");
                said(report.map(|_| Value::Null))
            }
            "endpoint_stats" => {
                let all = plain(&self.gateway.scheduler().stats())["endpoints"].take();
                let of = &all[args["endpoint"].as_u64().expect("a number") as usize];
                let fields = args["fields"].as_array().expect("fields").iter();
                fields.map(|field| (text(field).to_owned(), of[text(field)].clone())).collect()
            }
            "handle_kv_frames" => self.handle_kv_frames(now, args),
            "abandon_replay" => {
                let endpoint = self.endpoint(args);
                kv_report(self.gateway.abandon_replay(now, endpoint, 0))
            }
            "pick" => self.pick(now, args),
            "begin" => {
                let lease =
                    self.leases.iter_mut().find(|lease| lease.request_id() == request(args));
                let lease = lease.expect("picked");
                lease.begin(small(&args["status"]), text(&args["content_type"]));
                Value::Null
            }
            "feed" => {
                let lease =
                    self.leases.iter_mut().find(|lease| lease.request_id() == request(args));
                let lease = lease.expect("picked");
                let progress = lease.feed(&mut self.gateway, now, &bytes(&args["chunk"]));
                assert!(!lease.has_ended(), "in flight");
                plain(&progress.expect("begun"))
            }
            "finish" => {
                let lease =
                    self.leases.iter_mut().find(|lease| lease.request_id() == request(args));
                let lease = lease.expect("picked");
                plain(&lease.finish(&mut self.gateway, now, close(args)).expect("begun"))
            }
            "exchange" => exchanges::input(&mut self.exchange, &mut self.gateway, now, args),
            "metrics_text" => {
                let mut exposition = Exposition::new();
                if args["names"] == "reference" {
                    exposition =
                        exposition.reference_names(args["pool"].as_str().unwrap_or_default());
                }
                let mut lines = String::new();
                exposition.render(&self.gateway.scheduler().stats(), &mut lines);
                lines.into()
            }
            _ => return None,
        })
    }

    fn add_endpoint(&mut self, now: Instant, args: &Value) -> Value {
        let mut endpoint = Endpoint::new(text(&args["name"]));
        if let Some(page) = args.get("page") {
            let report = read_metrics(&json!({"page": page})).expect("a page");
            endpoint = report.configure(endpoint);
        }
        if let Some(model) = args["model"].as_str() {
            endpoint = endpoint.model(model);
        }
        if let Some(role) = args["role"].as_str() {
            endpoint = endpoint.role(Role::from_name(role).expect("a role"));
        }
        let id = self.gateway.scheduler_mut().add_endpoint(now, endpoint).expect("a new name");
        self.endpoints.push(id);
        let endpoint = self.gateway.scheduler().endpoint(id).expect("just added");
        let tokens = endpoint.kv_cache_tokens.map(NonZeroU32::get);
        json!({"block_size": endpoint.block_size, "kv_cache_tokens": tokens})
    }

    fn handle_metrics_page(&mut self, now: Instant, args: &Value) -> Value {
        let endpoint = self.endpoint(args);
        let report = reader(args).and_then(|reader| reader.read_load(&bytes(&args["page"])));
        self.gateway.handle_metrics(now, endpoint, &report).expect("known");
        said(report.map(|_| Value::Null))
    }

    fn handle_kv_frames(&mut self, now: Instant, args: &Value) -> Value {
        let frames: Vec<Vec<u8>> =
            args["frames"].as_array().expect("frames").iter().map(bytes).collect();
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let endpoint = self.endpoint(args);
        kv_report(if args["replay"] == true {
            self.gateway.handle_kv_replay(now, endpoint, 0, &frames)
        } else {
            self.gateway.handle_kv_frames(now, endpoint, 0, &frames)
        })
    }

    fn pick(&mut self, now: Instant, args: &Value) -> Value {
        let body = bytes(&args["body"]);
        let api = Api::of_path(text(&args["path"])).expect("an API");
        let pairs: Vec<(&str, &str)> = args["headers"]
            .as_array()
            .map(|pairs| pairs.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect())
            .unwrap_or_default();
        let headers = RequestHeaders::read(
            pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())),
        );
        let view = match self.requests.read(api, &body) {
            Ok(view) => view,
            Err(error) => return json!({"error": plain(&error)}),
        };
        let allow = args["allow"].as_array().map_or_else(Allow::default, |names| {
            let mut allow = Allow::default();
            names.iter().for_each(|name| allow.add(text(name)).expect("a known claim"));
            allow
        });
        let request = view.to_request_allowed(PriorityOrder::LowFirst, &allow);
        let mut request = headers.apply_allowed(&allow, now, request);
        if let Some(model) = args["model"].as_str() {
            request.model = model;
        }
        request.adapter = args["adapter"].as_str().or(request.adapter);
        match self.gateway.scheduler_mut().pick(now, &request) {
            Ok(dispatch) => {
                let endpoint = self.gateway.scheduler().endpoint(dispatch.endpoint_id);
                let answer = json!({
                    "request": plain(&dispatch.request_id),
                    "endpoint": endpoint.map(|endpoint| &endpoint.name),
                    "prompt_tokens": dispatch.prompt_tokens,
                    "cached_tokens": dispatch.cached_tokens,
                });
                self.leases.push(Lease::new(&self.gateway, dispatch));
                answer
            }
            Err(rejected) => json!({"rejected": rejected.reason.code()}),
        }
    }

    fn endpoint(&self, args: &Value) -> EndpointId {
        self.endpoints[small::<usize>(&args["endpoint"])]
    }
}

fn request(args: &Value) -> RequestId {
    serde_json::from_value(args["request"].clone()).expect("the number of a request")
}

/// What came of a message, as the wire's vectors have it.
fn kv_report(report: Result<Report, FeedError>) -> Value {
    said(report.map_err(|error| match error {
        FeedError::Wire(error) => error,
        other => panic!("{other}"),
    }))
}

impl Default for Host {
    fn default() -> Self {
        Self::of(Scheduler::default())
    }
}

impl Host {
    fn of(scheduler: Scheduler) -> Self {
        Self {
            gateway: Gateway::new(scheduler),
            endpoints: Vec::new(),
            leases: Vec::new(),
            exchange: Exchange::new(BodyShape::OpenAi),
            requests: RequestReader::new(),
        }
    }
}
