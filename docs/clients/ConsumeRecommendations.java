// Consume recommendations: print each moment of each recommendation's life as one line of JSON.
//
//     NPO_BROKER=127.0.0.1:9092 java -cp "$JARS" ConsumeRecommendations.java my-group
//
// Needs Java 17, kafka-clients and jackson-databind.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

public class ConsumeRecommendations {
    static final String BROKER = System.getenv().getOrDefault("NPO_BROKER", "127.0.0.1:9092");
    static final String TOPIC = System.getenv().getOrDefault("NPO_TOPIC_PREFIX", "npo.") + "recommendation.v1";
    static final PrintStream OUTPUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    static final ObjectMapper JSON = new ObjectMapper();
    static final Map<String, String> LIVES = Map.of(
        "opened", "new: somebody should answer",
        "updated", "the same fault was seen again, or by more peers",
        "answered", "an answer came, was changed or was taken back",
        "cleared", "the entity looks usual again; an answer still counts",
        "expired", "nobody answered in time");

    /** Act on one moment; after a crash it may come again, so do by `id` what may be done twice. */
    static void handle(JsonNode event) {
        String life = event.get("life").asText();
        if (!LIVES.containsKey(life)) return; // v1 may gain words: skip those that you do not know
        var told = JSON.createObjectNode();
        for (String name : List.of("id", "life", "scope", "entity", "summary", "positions")) told.set(name, event.get(name));
        var answers = told.put("says", LIVES.get(life)).putObject("answers");
        for (JsonNode answer : event.get("answers")) answers.set(answer.get("operator").asText(), answer.get("kind"));
        OUTPUT.println(told);
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", BROKER,
            "group.id", arguments[0],
            "isolation.level", "read_committed", // the default shows records of transactions that were aborted
            "auto.offset.reset", "earliest",
            "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(TOPIC));
            while (true) {
                var records = consumer.poll(Duration.ofSeconds(1));
                for (var record : records) handle(JSON.readTree(record.value()));
                if (!records.isEmpty()) consumer.commitSync(); // only now: what was not handled comes again
            }
        }
    }
}
